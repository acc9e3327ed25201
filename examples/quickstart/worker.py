import hubnet


@hubnet.event("rendered")
def rendered(frame):
    return (frame,), {}


@hubnet.connect()
def render(frame):
    rendered(frame)
    return f"frame {frame} done in {hubnet.Peer().group}"


if __name__ == "__main__":
    hubnet.serve()

"""Images, as version 2 names things; the tag is still the same, so both versions meet."""

import hubnet


@hubnet.connect("app.thumbnail")
def make_preview(name: str, width: int = 128) -> str:
    """A small image of an image."""
    return f"version 2 made {name} at {width}"

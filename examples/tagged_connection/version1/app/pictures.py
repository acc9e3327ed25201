"""Pictures, as version 1 names things."""

import hubnet


@hubnet.connect("app.thumbnail")
def thumbnail(name: str, width: int = 64) -> str:
    """A small picture of a picture."""
    return f"version 1 made {name} at {width}"

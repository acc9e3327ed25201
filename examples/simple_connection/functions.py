"""What both processes know: the function, and by its module and name the tag under which they meet."""

import os
import platform

import hubnet


@hubnet.connect()
def machine(question: str) -> str:
    """Answer with something that only the process that runs this can know."""
    return f"{question} {platform.node()}, process {os.getpid()}"

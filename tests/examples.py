"""The examples of the reference's document as Python: kept in files beside the tests, and handed to the processes that run them.

A file is the printed example but for the module's name, and for the one rule about prose: a line that starts with an ellipsis
and goes on in words (``...do something``) stands for the reader's own code, and keeps its ellipsis alone.
"""

from __future__ import annotations

import re

from tests.sentences import DOCUMENT, EXAMPLE, FOLDER, items

# What holds one of these lines is not run as it is printed.
NOT_RUNNABLE = {
    "# app version 1 running on PeerA": "a tree of directories",
    "    args[0] = cleanedObj": "args is a tuple, into which nothing can be assigned",
}


def as_python(printed: str) -> str:
    """An example as it is run."""
    named = re.sub(r"\bnet\.", "hubnet.", printed)
    return re.sub(r"^( *\.\.\.)\w.*$", r"\1", named, flags=re.MULTILINE) + "\n"


def why_not_run(printed: str) -> str:
    """Why an example cannot be run as it is printed; "" if it can."""
    return next((NOT_RUNNABLE[line] for line in printed.splitlines() if line in NOT_RUNNABLE), "")


def printed() -> list[str]:
    """All examples of the document."""
    return [item.text for item in items(DOCUMENT.read_text()) if item.kind == EXAMPLE]


def files() -> dict[str, str]:
    """What is in the files, by their names without the ending."""
    return {path.stem: path.read_text() for path in FOLDER.glob("*.py")}


def code(name: str, *, somepeer: bytes = b"") -> str:
    """An example out of its file.

    Args:
        name: the file's, without its ending.
        somepeer: the id that stands where the document writes the text 'somepeer' for a peer's id.
    """
    text = (FOLDER / f"{name}.py").read_text()
    return text.replace("'somepeer'", repr(somepeer)) if somepeer else text


def with_the_buffer(assignment: str) -> str:
    """The example that assigns into ``args``, with a line that Python can run in place of that one."""
    (text,) = (as_python(one) for one in printed() if "    args[0] = cleanedObj" in one.splitlines())
    return text.replace("args[0] = cleanedObj", assignment)

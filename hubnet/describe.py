"""Labels of this peer: what others may choose it by, and what its calls are allowed for."""

from __future__ import annotations

from typing import Any

from hubnet.peer import process_peer


def describe(**labels: Any) -> None:
    """Say of this peer what others may go by: ``describe(role="lead", tags=["optix", "cuda"])``.

    Labels are in its record (``hubnet.peers()``) and in ``hubnet.info``; ``@hubnet.connect(allow={"labels": …})`` decides by
    them. What is not named stays as it is.

    Args:
        labels: a str, a number, a bool, or a list of these; None takes a label away.

    Raises:
        TypeError, ValueError: naming the label.
    """
    process_peer().describe(labels)

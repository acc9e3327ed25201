"""Where a thread is: the call that it runs, if any."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hubnet.links.link import Link


class Call(NamedTuple):
    """The call that a thread runs.

    Attributes:
        depth: of nesting; -1 outside any call.
        deadline: monotonic seconds, or None.
        peer: the peer that runs it; None is this process's one.
        link: the link that it came by.
    """

    depth: int
    deadline: float | None
    peer: Any
    link: Link | None


NO_CALL = Call(-1, None, None, None)


class Here(threading.local):
    """This thread's place."""

    call: Call = NO_CALL


here = Here()

"""Threads, as far as the system has any: whoever gets none goes on without, and asks again when it is wanted once more."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from hubnet.links.complaints import Complaints

_log = logging.getLogger("hubnet")
_complaints = Complaints()
_unsaid: deque[tuple[str, str]] = deque(maxlen=100)


def begin(work: Callable[[], object], name: str, *, locked: bool = False) -> threading.Thread | None:
    """A daemon thread that has begun this work; None: none is to be had just now, which the log says once a minute.

    Args:
        work: what it does.
        name: its name.
        locked: the caller holds a lock, under which nothing is logged, for a handler of the log may want the same lock: it
            calls ``say_what_is_wanted`` once it has let go.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        _unsaid.append((name, str(error)))
        if not locked:
            say_what_is_wanted()
        return None
    return thread


def say_what_is_wanted() -> None:
    """Log for which work there was no thread."""
    while _unsaid:
        try:
            said = _complaints.about(*_unsaid.popleft())
        except IndexError:  # another thread says it
            return
        if said:
            _log.warning(
                "a thread is wanted: %s; end some, or raise the limit (ulimit -u, a container's pids limit)", said
            )

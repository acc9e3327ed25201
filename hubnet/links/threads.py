"""Threads, as far as the system has any: whoever gets none goes on without, and asks again when it is wanted once more."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable

from hubnet.links.complaints import Complaints

_log = logging.getLogger("hubnet")
_complaints = Complaints()
_unsaid: deque[tuple[str, str]] = deque(maxlen=100)
_saying = threading.Lock()


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
    """Log for which work there was no thread, unless somebody does: another thread, or what a signal has interrupted here."""
    while _unsaid and _saying.acquire(blocking=False):
        try:
            said = _complaints.about(*_unsaid.popleft()) if _unsaid else None
        finally:
            _saying.release()
        if said:
            _log.warning(
                "a thread is wanted: %s; end some, or raise the limit (ulimit -u, a container's pids limit)", said
            )


def _after_fork() -> None:
    """Another thread of the parent may have been saying something."""
    global _saying, _complaints
    _saying, _complaints = threading.Lock(), Complaints()


os.register_at_fork(after_in_child=_after_fork)

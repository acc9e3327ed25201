"""Threads, as far as the system has any: whoever gets none goes on without, and asks again when it is wanted once more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hubnet.links.complaints import Complaints

_log = logging.getLogger("hubnet")
_complaints = Complaints()


def begin(work: Callable[[], object], name: str) -> threading.Thread | None:
    """A daemon thread that has begun this work; None: none is to be had just now, which the log says once a minute."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if said := _complaints.about(name, str(error)):
            _log.warning(
                "a thread is wanted: %s; end some, or raise the limit (ulimit -u, a container's pids limit)", said
            )
        return None
    return thread

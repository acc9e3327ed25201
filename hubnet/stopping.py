"""Being stopped: SIGTERM and Ctrl-C, for as long as a process serves; at no other time are signals touched."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signals(finish: Callable[[], None], wake: Callable[[], None]) -> Iterator[None]:
    """Run `finish`, once and on a thread of its own, when the process is asked to stop.

    Args:
        finish: ends what the main thread waits in.
        wake: makes the main thread look up. The system may hand a signal to any thread, and Python's handlers run on the
            main one only, when it next runs: a thread that reads the wake-up descriptor sees to that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # whoever serves from another thread keeps signals to itself
        return
    asked = threading.Event()

    def stop(*_: object) -> None:
        if not asked.is_set():
            asked.set()
            threading.Thread(target=finish, name="hubnet-stop", daemon=True).start()

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, stop) for number in _NUMBERS}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reading, wake), name="hubnet-signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            if handler is not None:  # None: installed by somebody else's C code
                signal.signal(number, handler)
        os.close(writing)
        watcher.join(1)
        os.close(reading)


def _watch(reading: int, wake: Callable[[], None]) -> None:
    while os.read(reading, 64):
        wake()

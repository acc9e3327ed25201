"""Being stopped: SIGTERM and Ctrl-C, for as long as a process serves; at no other time are signals touched."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_before: dict[signal.Signals, Any] = {}
"""What handled these signals before us, while we do."""


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
            try:
                threading.Thread(target=finish, name="hubnet-stop", daemon=True).start()
            except RuntimeError:  # no thread is to be had: the one that watches does it, for this one may hold any lock
                to_do.append(finish)
                os.write(writing, b"f")

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    to_do: list[Callable[[], object]] = []
    watcher = threading.Thread(target=_watch, args=(reading, wake, to_do), name="hubnet-signals", daemon=True)
    try:
        watcher.start()
    except RuntimeError:
        os.close(reading)
        os.close(writing)
        raise
    before = {number: signal.signal(number, stop) for number in _NUMBERS}
    _before.update(before)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        _before.clear()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            if handler is not None:  # None: installed by somebody else's C code
                signal.signal(number, handler)
        os.close(writing)
        watcher.join(1)


def _watch(reading: int, wake: Callable[[], None], to_do: list[Callable[[], object]]) -> None:
    try:
        while os.read(reading, 64):
            wake()
            while to_do:
                to_do.pop()()
    finally:
        os.close(reading)


_masks = threading.local()


def _before_fork() -> None:
    """A signal that comes to the child before its handlers are its own would be lost: it has to wait."""
    if _before:
        _masks.kept = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)


def _after_fork() -> None:
    kept = _masks.__dict__.pop("kept", None)
    if kept is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def _after_fork_in_child() -> None:
    """A child of fork serves nobody: it dies of a signal as it would have without us."""
    if _before:
        signal.set_wakeup_fd(-1)
        for number, handler in _before.items():
            if handler is not None:
                signal.signal(number, handler)
        _before.clear()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)

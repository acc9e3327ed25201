"""Waiting without a sleep of a guessed length, and ports that nobody has.

What is about to happen in another thread or process is asked for again and again, until it is so or its time is up.
A test that has to know its port before anybody listens takes a free one here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    check: Callable[[], T],
    timeout: float = 20.0,
    pause: float = 0.01,
    *,
    not_yet: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Ask until the answer is true, and return it.

    Args:
        check: asked at least once.
        timeout: seconds until it is given up.
        pause: seconds between two questions.
        not_yet: errors of the check that mean no more than a false answer.

    Raises:
        AssertionError: it was not in time; caused by the last answer, if that was an error.
    """
    deadline = time.monotonic() + timeout
    while True:
        error = None
        try:
            if answer := check():
                return answer
        except not_yet as caught:
            error = caught
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {check}") from error
        time.sleep(pause)


def free_port() -> int:
    """A TCP port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

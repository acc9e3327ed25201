"""What some tests need from this machine, and a way to wait that is no sleep of a guessed length."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from hubnet.broker import find_server
from hubnet.errors import ConfigError


def server_binary() -> str:
    """The Redis-compatible server; without one the test is skipped, or fails where HUBNET_CI=1."""
    try:
        return find_server(os.environ.get("HUBNET_REDIS_SERVER", ""))
    except ConfigError as error:
        if os.environ.get("HUBNET_CI") == "1":
            pytest.fail(f"HUBNET_CI=1, and no server: {error}")
        pytest.skip(str(error))


def eventually(check: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: it was not in time.
    """
    deadline = time.monotonic() + timeout
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.005)
    return answer

"""What some tests need from this machine."""

from __future__ import annotations

import os

import pytest

from hubnet.embedded import find_server
from hubnet.errors import ConfigError


def server_binary() -> str:
    """The Redis-compatible server; without one the test is skipped, or fails where HUBNET_CI=1."""
    try:
        return find_server(os.environ.get("HUBNET_REDIS_SERVER", ""))
    except ConfigError as error:
        if os.environ.get("HUBNET_CI") == "1":
            pytest.fail(f"HUBNET_CI=1, and no server: {error}")
        pytest.skip(str(error))

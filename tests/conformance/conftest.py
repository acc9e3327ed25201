"""The real server that one side of each comparison runs on."""

from tests.registry.conftest import server

__all__ = ["server"]

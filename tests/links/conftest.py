"""Ends on loopback."""

from collections.abc import Iterator

import pytest

from .loopback import Ends, ends_of_a_test


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Makes peers reduced to their links: ``ends(cap=4).serve(function)``."""
    with ends_of_a_test() as made:
        yield made

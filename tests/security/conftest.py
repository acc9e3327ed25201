"""A member to attack, in a process of its own, and an honest peer that must be served whatever was done to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.links.loopback import End, Ends, ends_of_a_test
from tests.security import canary
from tests.security.member import Member, member


@pytest.fixture(scope="module")
def there() -> Iterator[Member]:
    """The member; nothing of it is replaced."""
    with member() as made:
        yield made


@pytest.fixture
def one(there: Member) -> Iterator[End]:
    """An honest caller; it is served at the end as well, and nothing of strangers was rebuilt there or here."""
    canary.sung.clear()
    with ends_of_a_test() as ends:
        ends.book[there.id] = there.endpoint
        caller = ends().serve()
        yield caller
        assert caller.call(there, "echo", 1) == 1
        assert caller.call(there, "sung") == canary.sung == []


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Makes peers reduced to their links."""
    with ends_of_a_test() as made:
        yield made

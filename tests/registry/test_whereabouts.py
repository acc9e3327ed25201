"""Where peers are: what was told last is known, what nobody uses is forgotten in the end, and a small fleet never is."""

from __future__ import annotations

import pytest

from hubnet.links.calling import Endpoint
from hubnet.whereabouts import FEW, LONG_AGO, Whereabouts


class Clock:
    now = 1e6

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def used() -> set[bytes]:
    return set()


@pytest.fixture
def known(clock: Clock, used: set[bytes]) -> Whereabouts:
    return Whereabouts(used.__contains__, clock)


def at(number: int, port: int = 3010) -> Endpoint:
    return Endpoint(b"peer %d" % number, b"i" * 16, "10.0.0.1", port, {})


def named(number: int) -> bytes:
    return at(number).peer_id


def test_what_was_told_last_is_known_until_it_is_dropped(known: Whereabouts) -> None:
    assert known.get(named(1)) is None
    for port in (1, 2):
        known.keep(at(1, port))
    assert known.get(named(1)) == known.drop(named(1)) == at(1, 2)
    assert known.get(named(1)) is known.drop(named(1)) is None


def test_a_thousand_are_known_for_ever(known: Whereabouts, clock: Clock) -> None:
    for number in range(FEW):
        known.keep(at(number))
        clock.now += LONG_AGO
    assert [known.get(named(number)) for number in range(FEW)] == [at(number) for number in range(FEW)]


def test_of_more_those_go_that_were_told_of_long_ago(known: Whereabouts, clock: Clock) -> None:
    for number in range(5 * FEW):
        known.keep(at(number))
    assert len(known) == 5 * FEW  # a large fleet: all of it was told just now
    clock.now += LONG_AGO
    known.keep(at(0))  # a hub told of it once more
    assert len(known) == FEW
    assert known.get(named(0)) == at(0)
    assert known.get(named(4 * FEW)) is None


def test_whoever_has_links_to_a_peer_knows_where_it_is(known: Whereabouts, clock: Clock, used: set[bytes]) -> None:
    used |= {named(0), named(1)}
    for number in range(5 * FEW):
        known.keep(at(number))
        clock.now += LONG_AGO / 100
    assert len(known) == FEW
    assert all(known.get(one) for one in used)
    used.clear()
    for number in range(5 * FEW, 7 * FEW):
        known.keep(at(number))
        clock.now += LONG_AGO / 100
    assert known.get(named(0)) is None


def test_where_all_are_in_use_none_goes(known: Whereabouts, clock: Clock, used: set[bytes]) -> None:
    used |= {named(number) for number in range(2 * FEW)}
    for number in range(2 * FEW):
        known.keep(at(number))
    clock.now += LONG_AGO
    known.keep(at(2 * FEW))
    assert len(known) == 2 * FEW + 1

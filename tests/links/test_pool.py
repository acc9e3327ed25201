"""Idle links: the warmest first, none that has ended, the coldest closed on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hubnet.errors import PeerLost
from hubnet.links import pool as pool_room
from hubnet.links.link import Link
from hubnet.links.pool import STALE_AFTER, Pool

from .loopback import pair, soon


@pytest.fixture
def links() -> Iterator[list[tuple[Link, Link]]]:
    made = [pair("tagged", "tcp") for _ in range(3)]
    yield made
    for link in (one for two in made for one in two):
        link.close()


def aged(pool: Pool, seconds: float) -> None:
    for link in pool.idle:
        link.used = time.monotonic() - seconds


def test_an_empty_pool_has_no_link() -> None:
    assert Pool().take() is None


def test_the_warmest_link_is_taken_first(links: list[tuple[Link, Link]]) -> None:
    pool = Pool()
    for near, _ in links:
        pool.give(near)

    assert [pool.take() for _ in range(4)] == [links[2][0], links[1][0], links[0][0], None]


@pytest.mark.parametrize("end", ["bye", "cut"])
def test_a_link_that_ended_while_it_was_idle_is_not_taken(links: list[tuple[Link, Link]], end: str) -> None:
    pool = Pool()
    for near, _ in links:
        pool.give(near)
    for _, far in links[1:]:
        far.say_bye() if end == "bye" else far.close()
    assert all(near.wait_readable(5) for near, _ in links[1:])
    aged(pool, 2 * STALE_AFTER)

    assert pool.take() is links[0][0]
    assert len(pool) == 0


def test_the_coldest_is_closed_with_a_goodbye_when_it_was_not_used_for_long(links: list[tuple[Link, Link]]) -> None:
    pool = Pool()
    for near, _ in links[:2]:
        pool.give(near)
    aged(pool, pool_room.IDLE_LIMIT + 1)
    pool.give(links[2][0])

    assert len(pool) == 2
    assert links[0][1].receive(soon()).kind == 7  # a bye
    with pytest.raises(PeerLost):
        links[0][1].receive(soon())


def test_the_last_link_stays_however_cold(links: list[tuple[Link, Link]]) -> None:
    pool = Pool()
    pool.give(links[0][0])
    aged(pool, 10 * pool_room.IDLE_LIMIT)
    assert pool.take() is links[0][0]
    pool.give(links[0][0])
    assert len(pool) == 1


def test_closing_says_goodbye_and_so_does_a_link_that_comes_back_later(links: list[tuple[Link, Link]]) -> None:
    pool = Pool()
    for near, _ in links:
        pool.give(near)
    in_use = pool.take()
    assert in_use is not None
    pool.close()
    pool.give(in_use)

    assert len(pool) == 0
    assert [far.receive(soon()).kind for _, far in links] == [7, 7, 7]


def test_a_pool_is_cold_when_no_call_uses_a_link_of_it_nor_has_for_a_minute(links: list[tuple[Link, Link]]) -> None:
    pool, now = Pool(), time.monotonic()
    assert pool.is_cold(now)  # it leads nowhere
    for near, _ in links:
        pool.meet(near)
    for number, (near, _) in enumerate(links):
        assert not pool.is_cold(now + 1000), f"{3 - number} are in use"
        if number == 1:
            near.close()
        else:
            pool.give(near)
    assert not pool.is_cold(now)
    assert pool.is_cold(time.monotonic() + pool_room.IDLE_LIMIT + 1)

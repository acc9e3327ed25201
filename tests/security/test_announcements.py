"""Attack 29 on a listening process: what is announced, and never comes, takes no memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice

import pytest

from hubnet.core import frames, handshake
from hubnet.errors import PeerLost
from hubnet.links.link import Link
from tests.links.loopback import End, soon
from tests.security.by_hand import EACH_KIND
from tests.security.member import Member, member
from tests.security.visiting import (
    all_that_is_said,
    dialled,
    limited,
    say,
    visit,
)
from tests.waiting import eventually

KIB, MIB = 1 << 10, 1 << 20
suite_of_each = pytest.mark.parametrize("suite", EACH_KIND, ids=["tagged", "sealed"])


class Announced:
    """A buffer of which there is only the length."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def announcement(link: Link, *sizes: int) -> bytes:
    """A request with these buffers, up to where they begin, with its proof."""
    pieces = link.protection.pack(
        frames.REQUEST, b"", name=b"echo", buffers=[Announced(size) for size in sizes]  # type: ignore[misc]
    )  # fmt: skip
    return b"".join(map(bytes, islice(pieces, 2 if link.suite == handshake.SEALED else 3)))


def test_lengths_that_strangers_announce_take_no_memory() -> None:
    """Bound: 16 KiB for each of 200 strangers, who announce all that fits into the wire's numbers."""
    with member() as there:
        before = there.most_memory
        for length in ((1 << 32) - 1, (1 << 31), 0x31425548):  # the last reads "HUB1"
            head = frames.HEADER.pack(length, 2, 0, 0xFFFF, 0xFFFF, 0, 0, (1 << 63))
            with ExitStack() as all_of_them:
                for _ in range(200):
                    sock = all_of_them.enter_context(visit(there))
                    say(sock, head + struct.pack("<Q", 1 << 63) * 10)
                    assert all_that_is_said(sock) == b""
        assert there.most_memory - before < 200 * 16 * KIB


@suite_of_each
def test_a_member_that_announces_more_than_there_could_be_loses_its_link_and_costs_nothing(
    one: End, suite: int
) -> None:
    """Bound: 8 MiB for all of them."""
    with member() as there:
        one.book[there.id] = there.endpoint
        end = limited(one, suite)
        assert end.call(there, "echo", bytes(1 << 20)) == bytes(1 << 20)
        before = there.most_memory
        for size in (1 << 60, 1 << 63, (1 << 64) - 1) * 4:
            link = dialled(end, there)
            link._sock.sendall(announcement(link, *[size] * frames.MOST_BUFFERS))
            with pytest.raises(PeerLost):
                link.receive(soon(20))
            link.close()
        assert there.most_memory - before < 8 << 20
        assert end.call(there, "counted", "frames.rejected") == 12


MUCH = {
    "a frame of 4 GiB": lambda link: frames.HEADER.pack((1 << 32) - 1, frames.REQUEST, 0, 0, 4, 0, 0, 0) + bytes(100),
    "a buffer of 8 GiB": lambda link: announcement(link, 1 << 33) + bytes(100),
    "4096 buffers of a MiB": lambda link: announcement(link, *[1 << 20] * frames.MOST_BUFFERS) + bytes(100),
}


@suite_of_each
@pytest.mark.parametrize("announced", MUCH.values(), ids=MUCH)
def test_a_member_that_announces_much_and_sends_little_takes_two_pieces_at_most(
    one: End, suite: int, announced: Callable[[Link], bytes]
) -> None:
    """Bound: 3 MiB for each link, two of them for what is gathered and 100 KiB for the thread that waits."""
    with member() as there:
        assert taken_by(one, there, suite, announced) < 3 * MIB


@pytest.mark.parametrize(
    ("suite", "announced"), [(handshake.TAGGED, "a frame of 4 GiB"), (handshake.SEALED, "a buffer of 8 GiB")]
)
def test_a_member_that_announces_much_and_sends_little_takes_no_memory_for_it(
    one: End, suite: int, announced: str
) -> None:
    """Bound: 400 KiB for each link."""
    with member() as there:
        assert taken_by(one, there, suite, MUCH[announced]) < 400 * KIB


def taken_by(one: End, there: Member, suite: int, announced: Callable[[Link], bytes]) -> float:
    """Bytes for each link that has announced this, and waits."""
    links = 16
    one.book[there.id] = there.endpoint
    end = limited(one, suite)
    assert end.call(there, "echo", bytes(1 << 20)) == bytes(1 << 20)
    before = there.most_memory
    with ExitStack() as all_of_them:
        for _ in range(links):
            link = dialled(end, there)
            all_of_them.callback(link.close)
            link._sock.sendall(announced(link))
        eventually(lambda: end.call(there, "reading") == links)
        eventually(lambda: there.rests)
        return (there.most_memory - before) / links

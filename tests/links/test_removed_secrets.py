"""A secret that is accepted no more: no link comes about under it, and those that stand are cut, whichever end dialled."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from hubnet import rotation
from hubnet.core import handshake
from hubnet.core.handshake import Initiator
from hubnet.core.keys import Keyring, new_token
from hubnet.errors import AuthenticationError, HubnetError, PeerLost
from tests.links.loopback import Ends, ends_of_a_test, soon
from tests.waiting import eventually

OLD, NEW = (new_token(bytes([number]) * 32) for number in (1, 2))


def ring(*secrets: str) -> Keyring:
    return Keyring.of(secrets, "tests")


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ends_of_a_test() as made:
        yield made


def remove_old(of: Keyring) -> None:
    of.replace(ring(NEW).keys.values())


def test_a_handshake_that_was_begun_under_a_secret_does_not_end_once_it_is_removed(ends: Ends) -> None:
    """Attack 38. Whoever keeps one half open would come in after every cut."""
    there = ends(ring=ring(OLD, NEW)).serve()
    side = Initiator(ends().own, there.own, ring(OLD), there.suites, os.urandom)
    with socket.create_connection(("127.0.0.1", there.port)) as sock:
        sock.sendall(side.begin())
        answer = side.receive(sock.recv(256))
        remove_old(there.ring)
        there.serving.cut(there.ring.keys)
        sock.sendall(answer)
        assert sock.recv(256) == b""
    eventually(lambda: there.counted("handshakes.refused") == 1)
    assert there.serving.links == 0


def test_a_link_that_came_about_as_its_secret_was_removed_is_no_link(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 38. Between its last message and its place among those that can be cut."""
    there = ends(ring=ring(OLD, NEW)).serve(abs)
    arrivals = there.serving._arrivals
    advance = arrivals.advance

    def slow(fd: int) -> object:
        made = advance(fd)
        if not isinstance(made, bool):
            remove_old(there.ring)
            there.serving.cut(there.ring.keys)
        return made

    monkeypatch.setattr(arrivals, "advance", slow)
    here = ends(ring=ring(OLD)).serve()
    with pytest.raises(HubnetError):
        here.call(there, "abs", -1, timeout=5)
    assert there.serving.links == 0


def test_a_call_to_who_has_a_removed_secret_only_is_cut_and_its_answer_never_rebuilt(ends: Ends) -> None:
    """Attack 38, from the other end: a dialler must not wait for ever for what it would unpickle."""
    let_go, failed = threading.Event(), []

    def hold() -> str:
        let_go.wait(60)
        return "held"

    former = ends(ring=ring(OLD)).serve(hold)
    caller = ends(ring=ring(OLD, NEW)).serve()

    def wait() -> None:
        try:
            caller.call(former, "hold", timeout=None)
        except PeerLost as error:
            failed.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    eventually(lambda: former.serving.running == 1)
    remove_old(caller.ring)
    caller.dialler.cut(caller.ring.keys)
    waiting.join(20)
    let_go.set()
    assert [error.ran for error in failed] == ["MAYBE"]
    assert "its secret is accepted no more" in str(failed[0])


def test_who_is_dialled_under_a_secret_that_is_removed_meanwhile_hears_no_call(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 38. Its answer comes after the cut."""
    former = ends(ring=ring(OLD)).serve(abs)
    caller = ends(ring=ring(OLD, NEW)).serve()
    shake = caller.dialler._shake

    def late(*args: object) -> tuple[handshake.Session, bytes]:
        done = shake(*args)  # type: ignore[arg-type]
        remove_old(caller.ring)
        caller.dialler.cut(caller.ring.keys)
        return done

    monkeypatch.setattr(caller.dialler, "_shake", late)
    with pytest.raises(AuthenticationError, match="accepted here no more"):
        caller.dialler.dial("127.0.0.1", former.port, former.own, soon())
    assert former.serving.running == 0


def test_links_under_secrets_that_go_on_are_left_alone(ends: Ends) -> None:
    there, here = ends(ring=ring(NEW)).serve(abs), ends(ring=ring(NEW, OLD)).serve()
    assert here.call(there, "abs", -1) == 1
    remove_old(here.ring)
    here.dialler.cut(here.ring.keys)
    there.serving.cut(there.ring.keys)
    assert here.call(there, "abs", -2) == 2
    assert there.serving.links == 1


def test_a_removed_secret_is_cut_within_five_seconds() -> None:
    """Attack 38: from the file's change, however the machine's clock runs."""
    assert rotation._LOOK + rotation._GRACE < 5


def test_a_call_that_waited_for_a_slot_when_its_secret_was_removed_is_never_rebuilt(ends: Ends) -> None:
    """Attack 38. Its caller says how long it may wait; what it sent is unpickled when it runs."""
    let_go, ran = threading.Event(), []

    def hold() -> None:
        let_go.wait(60)

    def late(value: object) -> None:
        ran.append(value)

    there = ends(ring=ring(OLD, NEW), cap=1).serve(hold, late)
    member, former = ends(ring=ring(NEW)).serve(), ends(ring=ring(OLD), patience=60.0).serve()
    calls = [threading.Thread(target=lambda: member.call(there, "hold"), daemon=True)]
    calls[0].start()
    eventually(lambda: there.serving.running == 1)

    def wait() -> None:
        with pytest.raises(HubnetError):
            former.call(there, "late", 1, timeout=None)

    calls.append(threading.Thread(target=wait, daemon=True))
    calls[1].start()
    eventually(lambda: there.serving.queued == 1)
    remove_old(there.ring)
    there.serving.cut(there.ring.keys)
    let_go.set()
    for one in calls:
        one.join(20)
    eventually(lambda: there.serving.running == there.serving.queued == 0)
    assert ran == []
    assert member.call(there, "late", 2) is None
    assert ran == [2]

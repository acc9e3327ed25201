"""Where the system has no thread to give, a peer waits with what it needs one for, says so, and goes on once there are some."""

from __future__ import annotations

import pytest

from hubnet.core.keys import new_token
from tests.waiting import eventually

from .conftest import SIGTERM, Actor, Net

pytestmark = pytest.mark.processes


def no_thread_for(name: str, seconds: float) -> str:
    """Code of a process that gets no thread of this name for so long."""
    return f"""
        import threading, time
        real, until = threading.Thread.start, time.monotonic() + {seconds}
        def start(thread):
            if thread.name == {name!r} and time.monotonic() < until:
                raise RuntimeError("can't start new thread")
            real(thread)
        threading.Thread.start = start
        import hubnet
        @hubnet.connect("early")
        def early(): return "served"
        """


@pytest.fixture
def hub(alone: Net) -> Actor:
    return alone.hub()


@pytest.mark.parametrize("name", ["hubnet-start", "hubnet-serve", "hubnet-home"])
def test_a_peer_starts_once_there_are_threads(alone: Net, hub: Actor, name: str) -> None:
    one = alone.actor(no_thread_for(name, 1.5), HUBNET_GROUP="w")
    one.run("hubnet.wait_for(1, timeout=20)")  # whoever is to begin is asked to again by this
    hub.run("there = hubnet.wait_for(1, 'w', timeout=20)[0]")
    assert hub.ask("there.call('early')") == "served"
    assert one.ask("time.monotonic() > until")
    assert one.leave() == 0
    assert f"a thread is wanted: {name}" in one.said


def test_a_hub_keeps_the_register_once_there_are_threads(alone: Net) -> None:
    hub = alone.actor(no_thread_for("hubnet-hub", 1.5), HUBNET_IS_HUB="1")
    worker = alone.actor()
    assert worker.ask("len(hubnet.wait_for(1, timeout=20)['peers'])") == 1
    assert hub.ask("time.monotonic() > until")
    assert hub.leave() == 0


def test_a_peer_looks_after_its_secrets_once_there_are_threads(alone: Net, hub: Actor) -> None:
    secret = alone.folder / "secrets"
    secret.touch(0o600)
    secret.write_text(old := new_token(b"o" * 32))
    one = alone.actor(no_thread_for("hubnet-secrets", 1.5), HUBNET_SECRET_FILE=str(secret), HUBNET_GROUP="w")
    accepted = "len(hubnet.Peer().ready()._secrets()['accepted'])"
    assert one.ask(accepted) == 1
    secret.write_text("\n".join([old, new_token(b"n" * 32)]))
    eventually(lambda: one.ask(accepted) == 2)
    assert one.ask("time.monotonic() > until")
    assert one.leave() == 0


def test_a_process_that_is_asked_to_end_ends(alone: Net, hub: Actor) -> None:
    one = alone.actor(no_thread_for("hubnet-stop", 1000), HUBNET_GROUP="w")
    hub.run("there = hubnet.wait_for(1, 'w', timeout=20)[0]")
    one.send("run", "hubnet.serve()")
    eventually(lambda: hub.ask("there.call('early')") == "served")
    one.signal(SIGTERM)
    one.answer()
    eventually(lambda: not hub.ask("hubnet.peers('w', refresh=True)['peers']"))

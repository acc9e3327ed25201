"""Where the system has no thread to give, a peer waits with what it needs one for, says so, and goes on once there are some."""

from __future__ import annotations

import pytest

from hubnet.core.keys import new_token
from tests.waiting import eventually

from .conftest import SIGTERM, Actor, Net, Raised
from .witness import serves

pytestmark = pytest.mark.processes


EARLY = """
        import hubnet
        @hubnet.connect("early")
        def early(): return "served"
        """


def no_thread_for(name: str, times: int = 3) -> str:
    """Code of a process that gets no thread of this name so many times, and says so."""
    return (
        f"""
        import sys, threading
        real, refused = threading.Thread.start, []
        def start(thread):
            if thread.name == {name!r} and len(refused) < {times}:
                refused.append(thread)
                print("refused", thread.name, file=sys.stderr)
                raise RuntimeError("can't start new thread")
            real(thread)
        threading.Thread.start = start
        """
        + EARLY
    )


@pytest.fixture
def hub(alone: Net) -> Actor:
    return alone.hub()


@pytest.mark.parametrize("name", ["hubnet-start", "hubnet-serve", "hubnet-home"])
def test_a_peer_starts_once_there_are_threads(alone: Net, hub: Actor, name: str) -> None:
    one = alone.actor(no_thread_for(name), HUBNET_GROUP="w")
    one.run("hubnet.wait_for(1, timeout=20)")  # whoever is to begin is asked to again by this
    hub.run("there = hubnet.wait_for(1, 'w', timeout=20)[0]")
    assert hub.ask("there.call('early')") == "served"
    assert one.ask("len(refused)") == 3
    assert one.leave() == 0
    assert f"a thread is wanted: {name}" in one.said


def test_a_peer_hears_what_it_has_subscribed_to_once_there_are_threads(alone: Net, hub: Actor) -> None:
    one = alone.actor(
        no_thread_for("hubnet-subscribe")
        + """
        heard = []
        @hubnet.subscribe("news")
        def hear(number): heard.append(number)
        """
    )
    hub.run("@hubnet.event('news')\ndef tell(number): return (number,), {}")

    def told() -> bool:
        hub.run("tell(1)")
        return one.ask("set(heard) == {1}")

    eventually(told)
    assert one.ask("len(refused)") == 3


def test_a_hub_keeps_the_register_once_there_are_threads(alone: Net) -> None:
    hub = alone.actor(no_thread_for("hubnet-hub"), HUBNET_IS_HUB="1")
    worker = alone.actor()
    assert worker.ask("len(hubnet.wait_for(1, timeout=20)['peers'])") == 1
    assert hub.ask("len(refused)") == 3
    assert hub.leave() == 0


def test_a_peer_looks_after_its_secrets_once_there_are_threads(alone: Net, hub: Actor) -> None:
    secret = alone.folder / "secrets"
    secret.touch(0o600)
    secret.write_text(old := new_token(b"o" * 32))
    one = alone.actor(no_thread_for("hubnet-secrets"), HUBNET_SECRET_FILE=str(secret), HUBNET_GROUP="w")
    accepted = "len(hubnet.Peer().ready()._secrets()['accepted'])"
    assert one.ask(accepted) == 1
    secret.write_text("\n".join([old, new_token(b"n" * 32)]))
    eventually(lambda: one.ask(accepted) == 2)
    assert one.ask("len(refused)") == 3
    assert one.leave() == 0


def test_a_call_needs_no_thread_that_is_still_to_be_had(alone: Net, hub: Actor) -> None:
    worker = alone.worker(EARLY, HUBNET_GROUP="w")
    where = worker.ask("hubnet.Peer().id")
    one = alone.actor(no_thread_for("hubnet-home", 1_000_000))
    assert one.ask(f"early(peer={where!r}, timeout=20)") == "served"


def test_a_handler_of_the_log_may_publish_where_a_publisher_has_no_thread(alone: Net, hub: Actor) -> None:
    one = alone.actor(no_thread_for("hubnet-publish", 20))
    one.run("hubnet.wait_for(1, timeout=20)")
    one.run(
        """
        import logging
        @hubnet.event("said")
        def said(text): return (text,), {}
        @hubnet.event("tick")
        def tick(): return (), {}
        class Ship(logging.Handler):
            def emit(self, record): said(record.getMessage())
        logging.getLogger().addHandler(Ship())
        def log():
            for _ in range(300): logging.getLogger("app").warning("busy")
        threads = [threading.Thread(target=log) for _ in range(4)]
        for thread in threads: thread.start()
        for _ in range(300): tick()
        for thread in threads: thread.join(20)
        """
    )
    assert one.ask("[thread.is_alive() for thread in threads]") == [False] * 4
    assert one.ask("len(refused)") == 20


def test_a_process_that_cannot_serve_for_lack_of_a_thread_keeps_its_signals(alone: Net, hub: Actor) -> None:
    one = alone.actor(no_thread_for("hubnet-signals", 1), HUBNET_GROUP="w")
    one.run("hubnet.wait_for(1, timeout=20)")
    one.run(
        """
        import os, pathlib, signal
        def pipes(): return sum("pipe:" in os.path.realpath(one) for one in pathlib.Path("/proc/self/fd").iterdir())
        before, handlers = pipes(), [signal.getsignal(n) for n in (2, 15)]
        """
    )
    with pytest.raises(Raised, match="can't start new thread"):
        one.run("hubnet.serve(main_thread=True)")
    assert one.ask("pipes() == before")
    assert one.ask("[signal.getsignal(n) for n in (2, 15)] == handlers and signal.set_wakeup_fd(-1) == -1")
    hub.run("there = hubnet.wait_for(1, 'w', timeout=20)[0]")
    assert hub.ask("there.call('early', timeout=20)") == "served"  # by another thread than the main one


def test_a_process_that_is_asked_to_end_ends(alone: Net, hub: Actor) -> None:
    one = alone.actor(no_thread_for("hubnet-stop"), HUBNET_GROUP="w")
    one.send("run", "hubnet.serve()")
    eventually(lambda: serves(one.pid) and hub.ask("len(hubnet.peers('w', refresh=True)['peers'])") == 1)
    one.signal(SIGTERM)
    one.answer()
    eventually(lambda: "refused hubnet-stop" in one.said)
    eventually(lambda: not hub.ask("hubnet.peers('w', refresh=True)['peers']"))

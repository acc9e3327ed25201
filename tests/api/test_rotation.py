"""Secrets that change while everything runs: each process has a file of its own, as each machine of a fleet has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hubnet.core.keys import Keyring, new_token
from tests.waiting import eventually

from .conftest import Actor, Net, Raised

pytestmark = pytest.mark.processes

OLD, NEW, OTHER = (new_token(bytes([byte]) * 32) for byte in b"onx")
APP = """
    import threading, time
    done, told, failed, heard, stopping = [], [], [], [], threading.Event()
    @hubnet.connect("echo")
    def echo(n): return n
    @hubnet.connect("hold")
    def hold(seconds):
        time.sleep(seconds)
        return "held"
    @hubnet.subscribe("tick")
    def on_tick(n): heard.append(n)
    @hubnet.event("tick")
    def tick(n): return (n,), {}
"""
LOAD = """
    def call_on_and_on(number, peer, pause):
        n = 0
        while not stopping.wait(pause):
            n += 1
            try:
                assert echo(n, peer=peer) == n
                done.append(n)
                if pause:
                    tick((number, n))
                    told.append((number, n))
            except BaseException as error:
                failed.append(repr(error))
    for number, peer in enumerate(hubnet.wait_for(2, 'w', timeout=20)['w']):
        for pause in (0, 0.05):
            threading.Thread(target=call_on_and_on, args=(number, peer, pause), daemon=True).start()
"""


def kid(*secrets: str) -> list[str]:
    """Key ids of secrets."""
    return [one.hex() for one in Keyring.of(secrets, "default").keys]


class Fleet:
    """Processes with a file of secrets each."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.files: dict[Actor, Path] = {}

    def add(self, *secrets: str, hub: bool = False, group: str = "", code: str = APP) -> Actor:
        """A process that has these secrets."""
        file = self.net.folder / f"secrets-{len(self.files)}"
        self._write(file, secrets)
        actor = self.net.actor(
            code, HUBNET_SECRET_FILE=str(file), HUBNET_IS_HUB="01"[hub], HUBNET_GROUP=group, HUBNET_LEASE="3"
        )
        self.files[actor] = file
        eventually(lambda: actor.ask("hubnet.Peer()._parts is not None"))
        return actor

    def give(self, actor: Actor, *secrets: str) -> None:
        """Put other secrets in place, and wait until they are in use there."""
        self._write(self.files[actor], secrets)
        eventually(lambda: state(actor)["accepted"] == kid(*secrets))

    @staticmethod
    def _write(file: Path, secrets: tuple[str, ...]) -> None:
        draft = file.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:  # noqa: PTH123
            out.write("\n".join(secrets))
        draft.replace(file)


@pytest.fixture
def fleet(alone: Net) -> Fleet:
    return Fleet(alone)


def state(actor: Actor) -> dict[str, object]:
    """Which secrets a process accepts, and its links under each."""
    return actor.ask("hubnet.Peer()._parts._secrets()")


def test_a_rolling_rotation_under_load_loses_no_call_and_no_event(fleet: Fleet) -> None:
    hub = fleet.add(OLD, hub=True)
    workers = [fleet.add(OLD, group="w") for _ in range(2)]
    caller = fleet.add(OLD, code=APP)
    caller.run(LOAD)
    everybody = [hub, *workers, caller]
    for secrets in ([OLD, NEW], [NEW, OLD], [NEW]):
        if secrets == [NEW]:
            eventually(lambda: all(not under(state(actor), OLD) for actor in everybody))
        before = caller.ask("len(done)")
        for actor in everybody:
            fleet.give(actor, *secrets)
        eventually(lambda at=before: caller.ask("len(done)") > at + 100)
    newcomer = fleet.add(NEW)
    peers = newcomer.ask("[r['pid'] for r in hubnet.peers(refresh=True)['peers'].values()]")
    assert set(peers) >= {actor.pid for actor in everybody}
    assert newcomer.ask("echo(1, peer=hubnet.wait_for(2, 'w')[0], timeout=20)") == 1
    caller.run("stopping.set()")
    assert caller.ask("failed") == []
    assert {name: count for name, count in state(hub)["links"].items() if name != kid(NEW)[0]} == {}
    told = caller.ask("sorted(told)")
    assert len(told) > 100
    for worker in workers:
        eventually(lambda one=worker: one.ask("sorted(heard)") == told)


def under(said: dict[str, object], secret: str) -> int:
    """How many links came in under a secret."""
    return said["links"].get(kid(secret)[0], 0)  # type: ignore[attr-defined]


def test_whoever_has_a_removed_secret_is_cut_off_and_told_so(fleet: Fleet) -> None:
    hub = fleet.add(OLD, NEW, hub=True)
    worker = fleet.add(OLD, NEW, group="w")
    former = fleet.add(OLD)
    former.run("peer = hubnet.wait_for(1, 'w', timeout=20)[0]")
    assert former.ask("echo(1, peer=peer)") == 1
    assert under(state(worker), OLD) >= 1
    former.send("ask", "hold(60, peer=peer)")
    eventually(lambda: worker.ask("hubnet.stats()['calls.running']") == 1)
    for actor in (hub, worker):
        fleet.give(actor, NEW)
    eventually(lambda: not under(state(worker), OLD) and not under(state(hub), OLD))
    with pytest.raises(Raised) as caught:
        former.answer()
    assert (caught.value.kind, caught.value.ran) == ("PeerLost", "MAYBE")
    with pytest.raises(Raised) as caught:
        former.ask("echo(2, peer=peer, timeout=10)")
    assert caught.value.kind == "AuthenticationError"
    assert "another secret" in caught.value.text
    assert worker.ask("echo(3, peer=hubnet.Peer().id)") == 3


def test_a_call_that_runs_when_the_secrets_change_ends_as_if_nothing_were(fleet: Fleet) -> None:
    hub = fleet.add(OLD, NEW, hub=True)
    worker = fleet.add(OLD, NEW, group="w")
    caller = fleet.add(OLD, NEW)
    caller.run("peer = hubnet.wait_for(1, 'w', timeout=20)[0]")
    caller.send("ask", "hold(6, peer=peer)")
    eventually(lambda: worker.ask("hubnet.stats()['calls.running']") == 1)
    for actor in (hub, worker):
        fleet.give(actor, NEW, OLD)
    assert under(state(worker), OLD) == 1
    assert caller.answer() == "held"


@pytest.mark.parametrize("how", ["empty", "mistyped", "open to others", "gone"])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_said_once(fleet: Fleet, how: str) -> None:
    hub = fleet.add(OLD, hub=True)
    worker = fleet.add(OLD, group="w")
    file = fleet.files[worker]
    if how == "empty":
        file.write_text("\n")
    elif how == "mistyped":
        file.write_text(OLD[:-1])
    elif how == "open to others":
        file.chmod(0o644)
    else:
        file.unlink()
    eventually(lambda: "the secrets stay as they were" in worker.said)
    assert state(worker)["accepted"] == kid(OLD)
    assert hub.ask("echo(1, peer=hubnet.wait_for(1, 'w')[0], timeout=20)") == 1
    assert OLD[8:-8] not in worker.said
    assert worker.said.count("the secrets stay as they were") == 1


def test_a_file_whose_folder_was_wrong_is_used_once_the_folder_is_right(fleet: Fleet) -> None:
    """The file itself shows no change then."""
    worker = fleet.add(OLD, hub=True)
    folder = fleet.files[worker].parent
    mode = folder.stat().st_mode
    folder.chmod(0o770)
    fleet._write(fleet.files[worker], (NEW, OLD))
    eventually(lambda: "others can write the folder" in worker.said)
    folder.chmod(mode)
    eventually(lambda: state(worker)["accepted"] == kid(NEW, OLD))
    assert worker.said.count("the secrets stay as they were") == 1


def test_secrets_in_another_file_of_the_same_words_change_nothing(fleet: Fleet) -> None:
    worker = fleet.add(OLD, hub=True)
    fleet.give(worker, OLD)
    fleet.give(worker, OLD, OTHER)
    assert worker.said.count("other secrets from now on") == 1

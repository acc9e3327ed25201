"""What peers of one machine find each other by: the private directory, what is wrong with it, and addresses that are lies."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubnet import machine
from tests.odd_servers import Stranger, on_unix_socket
from tests.waiting import eventually, free_port

from .conftest import Net, Raised
from .witness import id_of

pytestmark = [pytest.mark.processes, pytest.mark.embedded]
SERVES = "@hubnet.connect('whoami')\ndef whoami(): return hubnet.Peer().id\nhubnet.event('e')(lambda: ((), {}))()"
SECRET = "a passphrase that is long enough"


def place(net: Net) -> Path:
    return net.folder / f"hubnet-{os.getuid()}"


def wrong_mode(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir(mode=0o700)
    path.symlink_to(path.parent / "elsewhere")


def foreign(path: Path) -> None:
    if os.getuid():
        pytest.skip("needs root, to give a directory away")
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(("harm", "is_hub"), [(wrong_mode, "0"), (link, "1"), (foreign, "1")])
def test_a_private_directory_that_is_none_is_refused_by_its_name(alone: Net, harm, is_hub: str) -> None:
    harm(place(alone))
    one = alone.actor(SERVES, HUBNET_IS_HUB=is_hub, HUBNET_TIMEOUT="3")  # importing and events never raise
    for use in ("hubnet.peers()", "hubnet.Peer().id"):
        with pytest.raises(Raised, match="TMPDIR") as caught:
            one.ask(use)
        assert caught.value.kind == "ConfigError"
        assert str(place(alone)) in caught.value.text
    assert "Traceback" not in one.said
    assert one.leave() == 0
    beyond = alone.folder / "elsewhere"
    assert not beyond.exists() or not list(beyond.iterdir())  # nothing was left where a link led


def test_a_private_directory_is_not_needed_where_redis_and_the_secret_are_given(
    alone: Net, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wrong_mode(place(alone))
    with on_unix_socket(tmp_path_factory.mktemp("s")) as url:
        alone.env.update(HUBNET_REDIS_URL=url, HUBNET_SECRET=SECRET)
        hub, worker = alone.hub(SERVES), alone.worker(SERVES)
        assert hub.ask("hubnet.wait_for(1)[0].whoami()") == id_of(worker)


def test_all_that_is_left_behind_is_private_and_none_of_it_in_the_home(alone: Net) -> None:
    home = alone.folder / "home"
    home.mkdir()
    alone.env["HOME"] = str(home)
    alone.hub(SERVES)
    alone.worker(SERVES)
    assert stat.S_IMODE(place(alone).stat().st_mode) == 0o700
    for name in ("broker.json", "secret.json"):
        assert stat.S_IMODE((place(alone) / name).stat().st_mode) == 0o600
        assert json.loads((place(alone) / name).read_text())["boot"] == machine.boot_id()
    assert list(home.iterdir()) == []


@contextmanager
def stale(path: Path) -> Iterator[None]:
    """Everything is true, but it was written before this boot."""
    with on_unix_socket(path.parent) as url:
        _leave(path, url=url, boot="another boot")
        yield


@contextmanager
def another_password(path: Path) -> Iterator[None]:
    """A server that has another password."""
    with on_unix_socket(path.parent, "sesame") as url:
        _leave(path, url=url.replace("sesame", "x"))
        yield


@contextmanager
def a_stranger(path: Path) -> Iterator[None]:
    """A server of another kind has its port now."""
    with Stranger(b"220 mail.example ESMTP\r\n") as mail:
        _leave(path, url=f"redis://:x@127.0.0.1:{mail.port}/0")
        yield
        assert mail.visits


def _leave(path: Path, url: str, boot: str | None = None) -> None:
    path.write_text(json.dumps({"url": url, "pid": 1, "boot": machine.boot_id() if boot is None else boot}))
    path.chmod(0o600)


@pytest.mark.parametrize("lie", [stale, another_password, a_stranger])
def test_an_address_that_is_not_to_be_believed_is_not_and_the_first_hub_replaces_it(
    alone: Net, tmp_path_factory: pytest.TempPathFactory, lie
) -> None:
    alone.folder = tmp_path_factory.mktemp("n")  # a socket's path has 107 bytes at most
    alone.env["TMPDIR"] = str(alone.folder)
    place(alone).mkdir(mode=0o700)
    with lie(place(alone) / "broker.json"):
        worker = alone.actor(SERVES, HUBNET_GROUP="early")
        with pytest.raises(Raised, match="no hub runs on this machine yet") as caught:
            worker.ask("hubnet.wait_for(0, timeout=0.7)")
        assert caught.value.kind == "NoHub"
        hub = alone.hub(SERVES)
        assert hub.ask("hubnet.wait_for(1, 'early')[0].whoami()") == id_of(worker)
        said = json.loads((place(alone) / "broker.json").read_text())
        assert (said["pid"], said["boot"]) == (hub.pid, machine.boot_id())


# -- an id that somebody has -----------------------------------------------------------------------------------------


def test_who_was_refused_for_its_id_comes_in_when_the_holder_has_left(alone: Net) -> None:
    hub = alone.hub()
    port = str(free_port())
    holder = alone.worker(SERVES, HUBNET_PORT=port, HUBNET_PORT_RANGE="1")
    second = alone.actor(SERVES, HUBNET_ADVERTISE=f"127.0.0.1:{port}")
    eventually(lambda: f"held by pid {holder.pid}" in second.said)
    listed = "[(one.pid, one.state) for one in hubnet.peers(refresh=True)['peers'] and hubnet.peer_group()]"
    assert hub.ask(listed) == [(holder.pid, "open")]
    assert hub.ask("hubnet.peers()[0].whoami() == hubnet.peers()[0].id")  # the holder serves as before
    assert second.ask(f"hubnet.info(peer={id_of(hub)!r})['port']") == hub.ask("hubnet.Peer().port")  # and it may call
    eventually(lambda: second.ask("hubnet.stats().get('home.retries', 0)") >= 2)
    assert holder.leave() == 0
    eventually(lambda: hub.ask(listed) == [(second.pid, "open")])
    assert second.said.count("held by pid") == 1  # it says so once, however often it tries

"""A net whose Redis listens on a Unix socket: the hub writes the register there, and everybody publishes there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.odd_servers import on_unix_socket
from tests.waiting import eventually

from .conftest import Net, Raised

pytestmark = pytest.mark.processes

WORK = """
    heard = []
    @hubnet.connect("add")
    def add(a, b): return a + b
    @hubnet.subscribe("news")
    def hear(*args): heard.append(args)
"""


@pytest.fixture(params=["", "sesame"], ids=["no password", "password"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with on_unix_socket(tmp_path_factory.mktemp("s"), request.param) as made:  # a socket's path has 107 bytes at most
        yield made


def test_a_hub_and_a_worker_meet_call_and_hear_over_it(alone: Net, url: str) -> None:
    hub = alone.hub(HUBNET_REDIS_URL=url)
    worker = alone.worker(WORK, HUBNET_GROUP="work", HUBNET_REDIS_URL=url)
    hub.run("worker = hubnet.wait_for(1, 'work')[0]")
    assert hub.ask("worker.pid, worker.host, worker.add(1, 2)") == (worker.pid, "127.0.0.1", 3)
    assert worker.ask("hubnet.wait_for(1, hubs_only=True)[0].pid") == hub.pid
    eventually(lambda: hub.ask("hubnet.peers('work', refresh=True)[0].subscriptions") == ["news"])
    hub.run("tell = hubnet.event('news')(lambda *args: (args, {}))\ntell(1)")
    eventually(lambda: worker.ask("heard") == [(1,)])
    for one in (hub, worker):
        assert "sesame" not in one.said
        assert "Traceback" not in one.said


def test_a_wrong_password_is_told_and_not_shown(alone: Net, tmp_path_factory: pytest.TempPathFactory) -> None:
    with on_unix_socket(tmp_path_factory.mktemp("s"), "sesame") as url:
        stranger = alone.actor(HUBNET_REDIS_URL=url.replace("sesame", "wrong-word"), HUBNET_TIMEOUT="4")
        with pytest.raises(Raised, match="check the user and password in HUBNET_REDIS_URL") as caught:
            stranger.ask("hubnet.peers()")
        assert caught.value.kind == "BrokerUnavailable"
        assert "wrong-word" not in caught.value.text + stranger.said

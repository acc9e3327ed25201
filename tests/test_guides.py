"""Sentinels and a Cluster's nodes: whom hubnet asks where Redis is, in which order, and what it makes of the answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hubnet.broker import Broker
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable
from hubnet.guides import Guides
from hubnet.redis_url import Guided, guided
from tests.guarded import Guarded
from tests.odd_servers import silent
from tests.waiting import eventually, free_port

SLOT = 5718  # of {default}


def said(url: str) -> Guided:
    found = guided(url)
    assert found is not None
    return found


class Asked:
    """Answers by host, or none; and who was asked what."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.urls: list[str] = []
        self.commands: set[tuple[bytes, ...]] = set()

    def __call__(self, url: str, command: tuple[bytes, ...], deadline: float) -> Any:
        self.urls.append(url)
        self.commands.add(command)
        host = url.partition("://")[2].partition(":")[0]
        if host not in self.answers:
            raise BrokerUnavailable(f"{host} is out of reach")
        return self.answers[host]


def guides(url: str) -> Guides:
    return Guides(said(url), "default", url)


def test_the_first_sentinel_that_answers_is_believed_and_asked_first_from_then_on() -> None:
    ask, three = Asked(b=[b"10.0.0.7", b"6380"]), guides("redis+sentinel://a,b,c/farm")
    assert three.server(ask) == three.server(ask) == "redis://10.0.0.7:6380/0"
    assert ask.urls == ["redis://a:26379/0", "redis://b:26379/0", "redis://b:26379/0"]
    assert ask.commands == {(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"farm")}


def test_a_sentinel_that_does_not_know_the_service_is_no_answer() -> None:
    ask = Asked(a=None, b=[b"m", b"1"])
    assert guides("redis+sentinel://a,b/farm").server(ask) == "redis://m:1/0"
    with pytest.raises(BrokerUnavailable, match=r"a:26379: this Sentinel knows no service 'farm'.*HUBNET_REDIS_URL"):
        guides("redis+sentinel://a/farm").server(ask)


def test_where_nobody_listens_the_error_names_who_was_asked_last_and_what_to_check_once() -> None:
    port = free_port()
    with pytest.raises(BrokerUnavailable) as caught:
        Broker(Settings(redis_url=f"redis+sentinel://u:sesame@127.0.0.1:{port}/farm")).ask(b"PING")
    assert f"127.0.0.1:{port}: [Errno 111]" in str(caught.value)
    assert str(caught.value).count("check HUBNET_REDIS_URL") == 1
    assert "sesame" not in str(caught.value)


def test_a_clusters_owner_of_the_namespaces_slot_is_found_through_any_node() -> None:
    ranges = [
        [0, SLOT - 1, [b"n1", 1, b"id"]],
        [SLOT, SLOT, [b"n2", 2, b"id"], [b"n3", 3, b"id"]],
        [SLOT + 1, 16383, [b"n1", 1]],
    ]
    ask, one = Asked(n1=ranges), guides("redis+cluster://n1:1")
    assert one.server(ask) == "redis://n2:2/0"
    del ask.answers["n1"]
    ask.answers["n3"] = [[0, 16383, [b"n3", 3, b"id"]]]  # which it knows of by now
    assert one.server(ask) == "redis://n3:3/0"


@pytest.mark.parametrize("name", [b"", None, b"?"])
def test_a_node_that_does_not_know_its_own_name_is_where_it_was_asked(name: bytes | None) -> None:
    assert guides("redis+cluster://n1:1").server(Asked(n1=[[0, 16383, [name, 7000]]])) == "redis://n1:7000/0"


def test_a_cluster_in_which_nobody_has_the_slot_is_no_answer() -> None:
    with pytest.raises(BrokerUnavailable, match=f"no node of the Cluster has slot {SLOT}"):
        guides("redis+cluster://n1:1").server(Asked(n1=[[0, 5, [b"n1", 1]]]))


def test_those_that_accept_and_say_nothing_are_waited_for_until_the_deadline_and_no_longer() -> None:
    with silent() as port:
        where = ",".join([f"127.0.0.1:{port}"] * 5)
        broker = Broker(Settings(redis_url=f"redis+sentinel://u:sesame@{where}/farm"))
        begin = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="nobody of redis") as caught:
            broker.ask(b"PING", deadline=begin + 0.5)
        assert time.monotonic() - begin < 3  # each has a second
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("10.0.0.1", False), ("127.0.0.1:1,10.0.0.1", False)])
def test_peers_stay_on_loopback_only_where_all_who_are_asked_are_there(host: str, local: bool) -> None:
    assert Broker(Settings(redis_url=f"redis+sentinel://{host}/farm")).local is local


def test_the_route_to_redis_is_the_one_to_who_is_asked() -> None:
    assert (
        Broker(Settings(redis_url=f"redis+cluster://no-such-host.invalid,127.0.0.1:{free_port()}")).route()
        == "127.0.0.1"
    )


@pytest.mark.parametrize("user", ["hub", "worker"])
def test_in_a_cluster_a_user_needs_one_right_more_and_is_told_which(tmp_path: Path, user: str) -> None:
    server = Guarded(tmp_path, f"cluster-enabled yes\ncluster-port {free_port()}")
    try:
        server.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        broker = Broker(Settings(redis_url=f"redis+cluster://{user}:{user}@127.0.0.1:{server.port}"))
        with pytest.raises(BrokerUnavailable, match=r"permissions .*'cluster\|slots'"):
            broker.ask(b"PING")
        server.admin.execute_command("ACL", "SETUSER", user, "+cluster|slots")
        assert broker.ask(b"PING") == b"PONG"
        eventually(lambda: broker.ask(b"HGETALL", b"hubnet:{default}:hubs") == [], not_yet=BrokerUnavailable)
    finally:
        server.close()


@pytest.mark.parametrize("url", ["", "unix:///run/redis.sock", "redis:///0"])
def test_there_is_no_route_to_a_redis_of_this_machine_and_the_error_says_what_to_set(url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="set HUBNET_ADVERTISE"):
        Broker(Settings(redis_url=url)).route()

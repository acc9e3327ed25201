"""Redis inside TLS, with the two users of a real net: who passes, who is refused, and a whole net through it.

No server in a wheel has TLS, so one of ours stands before it: it asks everybody for a certificate of the net's CA and hands on
what it deciphered. A Redis that does both itself is in ``cluster/test_tls_profile.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("cryptography")

from hubnet import certificates
from hubnet.broker import Broker
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable
from tests.api.conftest import Net, Raised
from tests.api.witness import id_of, live
from tests.front import Front
from tests.guarded import Guarded
from tests.test_tls import NOW, Farm
from tests.waiting import eventually

HUBS = "hubnet:{default}:hubs"


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path / "certificates")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    made = Guarded(tmp_path)
    yield made
    made.close()


@pytest.fixture
def front(farm: Farm, guarded: Guarded) -> Iterator[Front]:
    made = Front(farm.host(), guarded.port)
    yield made
    made.close()


def url(front: Front, user: str, *, ca: str, cert: str = "", key: str = "", host: str = "127.0.0.1") -> str:
    """As docs/security.md has it, with a certificate of one's own."""
    shown = {"ssl_certfile": cert, "ssl_keyfile": key} if cert else {}
    options = urlencode({"ssl_ca_certs": ca, "ssl_check_hostname": "true", **shown}, safe="/")
    return f"rediss://{user}:{user}@{host}:{front.port}/0?{options}"


def asked(where: str, *command: str) -> object:
    """What Redis answers to one command."""
    broker = Broker(Settings(redis_url=where))
    try:
        return broker.ask(*(word.encode() for word in command))
    finally:
        broker.close()


SERVES = """
heard = []
@hubnet.connect('whoami')
def whoami(word): return hubnet.Peer().id, word
hubnet.subscribe('done')(lambda word: heard.append(word))
done = hubnet.event('done')(lambda word: ((word,), {}))
"""


def test_a_net_lives_through_redis_inside_tls_with_its_two_users(
    tmp_path: Path, farm: Farm, front: Front, guarded: Guarded
) -> None:
    """Listings, calls, events; and it heals when all connections to Redis are cut."""
    own = farm.host()._asdict()
    net = Net(tmp_path)
    net.env.update(HUBNET_LEASE="1")
    try:
        hub = net.hub(SERVES, HUBNET_REDIS_URL=url(front, "hub", **own))
        as_worker = {"HUBNET_REDIS_URL": url(front, "worker", **own), "HUBNET_GROUP": "render"}
        one, other = net.worker(SERVES, **as_worker), net.worker(SERVES, **as_worker)
        everybody = {id_of(actor) for actor in (hub, one, other)}
        for actor in (hub, one, other):
            assert set(actor.ask("hubnet.wait_for(2)['peers']")) == everybody - {id_of(actor)}
            live(actor)
        assert one.ask(f"whoami('word', peer={id_of(other)!r})") == (id_of(other), "word")
        one.run("done('first')")
        for actor in (hub, other):
            eventually(lambda actor=actor: actor.ask("heard") == ["first"])
        assert front.cut() >= 5  # each has a subscription, the hub its register, and who published
        assert one.ask(f"whoami('cut', peer={id_of(other)!r})") == (id_of(other), "cut")
        for actor in (hub, one, other):
            eventually(lambda actor=actor: actor.ask("hubnet.stats().get('reconnects.subscriptions', 0)") >= 1)
            live(actor)
        other.run("done('second')")
        for actor in (hub, one):
            eventually(lambda actor=actor: "second" in actor.ask("heard"))
        assert other.leave() == 0
        eventually(lambda: list(one.ask("hubnet.peers(refresh=True)['peers']")) == [id_of(hub)])
        assert guarded.denied() == []
        assert front.refused == []
    finally:
        net.close()


@pytest.mark.parametrize("user", ["hub", "worker", "health"])
def test_each_user_of_redis_has_its_own_rights_inside_tls_as_well(
    farm: Farm, front: Front, guarded: Guarded, user: str
) -> None:
    where = url(front, user, **farm.host()._asdict())
    assert asked(where, "PING") == b"PONG"
    if user == "hub":
        assert asked(where, "HSET", HUBS, "id", "text") == 1
        return
    with pytest.raises(BrokerUnavailable, match="NOPERM"):
        asked(where, "HSET", HUBS, "id", "text")
    assert guarded.denied() == [f"{user}: command hset"]


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("no certificate", "peer did not return a certificate"),
        ("a certificate of another CA", "certificate verify failed"),
        ("no TLS", "wrong version number|http request|unexpected"),
    ],
)
def test_redis_inside_tls_refuses_who_shows_no_certificate_of_the_net(
    farm: Farm, front: Front, tmp_path: Path, flaw: str, said: str
) -> None:
    another = Farm(tmp_path / "another").host()
    where = {
        "no certificate": url(front, "hub", ca=farm.ca_file),
        "a certificate of another CA": url(front, "hub", ca=farm.ca_file, cert=another.cert, key=another.key),
        "no TLS": f"redis://hub:hub@127.0.0.1:{front.port}/0",
    }[flaw]
    with pytest.raises(BrokerUnavailable) as caught:
        asked(where, "PING")
    assert "hub:hub" not in str(caught.value)
    assert re.search(said, eventually(lambda: front.refused)[0], re.IGNORECASE), front.refused
    assert front.passed == 0
    assert asked(url(front, "hub", **farm.host()._asdict()), "PING") == b"PONG"


@pytest.mark.parametrize("flaw", ["another CA", "another name", "itself its CA"])
def test_a_peer_gives_its_password_to_no_redis_that_it_cannot_verify(
    farm: Farm, guarded: Guarded, tmp_path: Path, flaw: str
) -> None:
    own, another = farm.host(), Farm(tmp_path / "another")
    shown = {
        "another CA": another.host()._replace(ca=farm.ca_file),
        "another name": farm.host("elsewhere.example"),
        "itself its CA": another.paths(certificates.authority_pair(NOW))._replace(ca=farm.ca_file),
    }[flaw]
    front = Front(shown, guarded.port)
    try:
        with pytest.raises(BrokerUnavailable, match="verify failed") as caught:
            asked(url(front, "hub", **own._asdict()), "PING")
        assert "hub:hub" not in str(caught.value)
        assert front.passed == 0
    finally:
        front.close()


@pytest.mark.parametrize("login", ["hub:wrong", ":hub", "nobody:hub", "default:"])
def test_a_certificate_is_no_login(farm: Farm, front: Front, login: str) -> None:
    where = url(front, "hub", **farm.host()._asdict()).replace("hub:hub@", f"{login}@")
    with pytest.raises(BrokerUnavailable, match=r"WRONGPASS|NOAUTH|invalid username"):
        asked(where, "PING")
    assert front.passed >= 1


def test_a_hub_that_redis_refuses_says_so_and_of_no_password(tmp_path: Path, farm: Farm, front: Front) -> None:
    net = Net(tmp_path)
    try:
        with pytest.raises(Raised) as caught:
            net.actor(
                "hubnet.peers()",
                HUBNET_IS_HUB="1",
                HUBNET_TIMEOUT="2",
                HUBNET_REDIS_URL=url(front, "hub", ca=farm.ca_file),
            )
        assert {"NoHub", "BrokerUnavailable"} & set(caught.value.kinds), caught.value.trace
        assert "hub:hub" not in caught.value.trace + net.actors[0].said
    finally:
        net.close()

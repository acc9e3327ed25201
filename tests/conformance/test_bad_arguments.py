"""Every method of a net in memory refuses each wrong argument at once and by name, and the net goes on as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import hubnet
from hubnet.testing import Broker, LocalNet, LocalPeer
from tests.api.test_bad_arguments import EXAMPLES, JUNK, LONGEST_ERROR, NAMES

A_PEER = "takes a peer of this net, as net.peer() and net.hub() return it"
AN_END = "takes peers of this net or net.broker"
HOST = "a name or an IP address, without port, brackets or spaces"
junk = settings(
    max_examples=EXAMPLES // 6,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@hubnet.connect
def where(**kwargs: object) -> str:
    """Where it runs."""
    return hubnet.Peer().host


@pytest.fixture(scope="module")
def place() -> Iterator[dict[str, Any]]:
    """A net, a peer in it, one that has ended, and one of another net."""
    other = LocalNet()
    with other:
        strange, their_broker = other.peer(where), other.broker
    with LocalNet() as net:
        ended = net.peer(where)
        net.kill(ended)
        names = {
            "net": net,
            "worker": net.peer(where),
            "ended": ended,
            "strange": strange,
            "their_broker": their_broker,
        }
        yield {**NAMES, **names, "LocalNet": LocalNet, "where": where}


TABLE = [
    ("LocalNet(hubs=-1)", ValueError, "LocalNet(hubs=…)", "from 0 to 1000", "int: -1"),
    ("LocalNet(hubs='x')", TypeError, "LocalNet(hubs=…)", "a whole number from 0", "str: 'x'"),
    ("LocalNet(hubs=True)", TypeError, "LocalNet(hubs=…)", "a whole number from 0", "bool: True"),
    ("LocalNet(hubs=1.0)", TypeError, "LocalNet(hubs=…)", "a whole number from 0", "float: 1.0"),
    ("LocalNet(lease=-1)", ValueError, "LocalNet(lease=…)", "seconds from 0.3", "'-1'"),
    ("LocalNet(leese=1)", ValueError, "LocalNet()", "no setting 'leese'"),
    ("net.peer(5)", TypeError, "a peer serves functions", "int: 5"),
    ("net.peer(where, Broken())", TypeError, "a peer serves functions", "Broken"),
    ("net.peer(host=5)", TypeError, "host", "is a str", "int: 5"),
    ("net.peer(host='a b')", ValueError, "host", HOST, "str: 'a b'"),
    ("net.peer(host='')", ValueError, "host", HOST, "str: ''"),
    ("net.peer(group=5)", ValueError, "group", "a str or None", "int 5"),
    ("net.peer(lease='soon')", ValueError, "LocalNet(lease=…)", "seconds from 0.3", "'soon'"),
    ("net.hub(host=b'h')", TypeError, "host", "is a str", "bytes: b'h'"),
    ("worker.serve(where, 5)", TypeError, "a peer serves functions", "int: 5"),
    ("worker.connect(5)", TypeError, "connect(tag=…)", "int: 5"),
    ("worker.event(5)", TypeError, "an event's name", "int: 5"),
    ("worker.subscribe('a*')", ValueError, "an event's name", "'*'"),
    ("worker.flag('')", TypeError, "a flag's name", "at least one character"),
    ("net.delay('x', worker)", TypeError, "delay(seconds, …)", "a number of seconds", "str: 'x'"),
    ("net.delay(True, worker)", TypeError, "delay(seconds, …)", "a number of seconds", "bool: True"),
    ("net.delay(nan, worker)", ValueError, "delay(seconds, …)", "0 seconds or more", "float: nan"),
    ("net.delay(-1, worker)", ValueError, "delay(seconds, …)", "0 seconds or more", "int: -1"),
    ("net.delay(inf, worker)", ValueError, "delay(seconds, …)", "at most 1000000000", "float: inf"),
    ("net.delay(HUGE, worker)", ValueError, "delay(seconds, …)", "at most 1000000000", "cannot be shown"),
    ("net.delay(1, None)", TypeError, "delay()", AN_END, "NoneType: None"),
    ("net.broker.lose('x')", TypeError, "lose(messages)", "a whole number from 0", "str: 'x'"),
    ("net.broker.lose(-1)", ValueError, "lose(messages)", "a whole number from 0", "int: -1"),
    ("net.broker.start(forget='x')", TypeError, "forget is a bool", "str: 'x'"),
    ("net.broker.restart(forget=1)", TypeError, "forget is a bool", "int: 1"),
    *[
        (f"net.{call.format(argument)}", kind, f"{call.partition('(')[0]}()", said, came)
        for call in (
            "cut({})",
            "cut(worker, {})",
            "drop({})",
            "drop(worker, {})",
            "mend({})",
            "mend(worker, {})",
            "delay(1, {})",
        )
        for kind, said, came, argument in [
            (TypeError, AN_END, "int: 5", "5"),
            (TypeError, AN_END, "str: 'a'", "'a'"),
            (TypeError, AN_END, "Broken", "Broken()"),
            (ValueError, "has ended", "peer-2", "ended"),
            (ValueError, "of another net", "peer-2", "strange"),
            (ValueError, "the broker of another net", "broker", "their_broker"),
        ]
    ],
    *[
        (f"net.{method}({argument})", kind, f"{method}()", said, came)
        for method in ("pause", "stop", "kill")
        for kind, said, came, argument in [
            (TypeError, A_PEER, "NoneType: None", "None"),
            (TypeError, A_PEER, "str: 'a'", "'a'"),
            (TypeError, A_PEER, "Broker", "net.broker"),
            (ValueError, "has ended", "peer-2", "ended"),
            (ValueError, "of another net", "peer-2", "strange"),
        ]
    ],
]


@pytest.mark.parametrize(("call", "kind", "texts"), [(call, kind, texts) for call, kind, *texts in TABLE], ids=ascii)
def test_a_wrong_argument_is_named_and_changes_nothing(
    place: dict[str, Any], call: str, kind: type[Exception], texts: list[str]
) -> None:
    before = _peers_of(place["net"])
    with pytest.raises(kind) as caught:
        eval(call, place)
    for text in texts:
        assert text in str(caught.value)
    assert len(str(caught.value)) < LONGEST_ERROR
    assert _peers_of(place["net"]) == before
    assert where(peer=place["worker"].id) == place["worker"].host


@pytest.mark.parametrize(
    "ask",
    [
        lambda net, it: LocalNet(hubs=it),
        lambda net, it: net.kill(net.peer(host=it)),
        lambda net, it: net.kill(net.peer(it)),
        lambda net, it: net.cut(it),
        lambda net, it: net.cut(net.me, it),
        lambda net, it: net.delay(it, net.me),
        lambda net, it: net.drop(it),
        lambda net, it: net.mend(net.me, it),
        lambda net, it: net.pause(it),
        lambda net, it: net.stop(it),
        lambda net, it: net.kill(it),
        lambda net, it: net.broker.lose(it),
        lambda net, it: net.broker.start(forget=it),
    ],
)  # fmt: skip
def test_junk_is_told_in_a_short_error(place: dict[str, Any], ask: Callable[[LocalNet, Any], Any]) -> None:
    net = place["net"]

    @junk
    @given(JUNK)
    def tried(value: Any) -> None:
        before = _peers_of(net)
        try:
            ask(net, value)
        except (TypeError, ValueError) as error:
            assert 0 < len(str(error)) < LONGEST_ERROR
        assert _peers_of(net) == before

    tried()
    net.mend()


def _peers_of(net: LocalNet) -> list[LocalPeer]:
    return list(net._peers)


def test_a_net_is_open_once_and_makes_peers_only_then() -> None:
    net = LocalNet()
    with pytest.raises(RuntimeError, match="not open: its peers are made inside"):
        net.peer(where)
    with net:
        assert isinstance(net.broker, Broker)
    with pytest.raises(RuntimeError, match="not open"):
        net.hub()
    with pytest.raises(RuntimeError, match="used once"):
        net.__enter__()

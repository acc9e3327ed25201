"""Every public function refuses each wrong kind of argument at once: before a peer is started, or waited for, or told anything.

All of it runs in this process, without broker and hub. The table says what each error must name: the parameter, what came,
what is allowed. Hypothesis then throws junk at the same functions.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hubnet
from hubnet import environment
from hubnet.core.identity import LONGEST_NAME, generate_id
from hubnet.environment import Settings
from hubnet.errors import ConfigError, EncodeError, InvalidConnection, UnknownFlag
from hubnet.peer import _Peer

LONGEST_ERROR = 2000
EXAMPLES = 900 if os.environ.get("HUBNET_CI") == "1" else 300
fuzz = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def _raises(*args: object) -> Any:
    raise RuntimeError("this object is broken")


class Broken:
    """An object that nobody can show, compare, hash or count."""

    __repr__ = __str__ = __eq__ = __bool__ = __len__ = __hash__ = _raises


class BrokenStr(str):
    """A str like that."""

    __slots__ = ()
    __repr__ = __str__ = __eq__ = __bool__ = __len__ = __hash__ = _raises


class BrokenAttributes:
    """An object that fails when it is asked for anything."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class BrokenIterator:
    """An iterable that fails when it is gone through."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("not today")


class Unpicklable:
    """A value whose reason for not being pickled cannot be shown."""

    def __reduce__(self) -> Any:
        raise _Unspeakable


class _Unspeakable(Exception):
    __str__ = __repr__ = _raises


class Holder:
    """An object with an id that is none."""

    id = b"junk"


def nested(depth: int) -> list[Any]:
    """Lists within lists."""
    return functools.reduce(lambda inner, _: [inner], range(depth), [])


async def _later(*args: Any, **kwargs: Any) -> None:
    pytest.fail("it ran")


ID = generate_id(3010, "10.0.0.1", "render")
RECORD = {"host": "10.0.0.1", "port": 3010, "group": "render", "connections": ["app.render"]}
LONG = "x" * 10_000
LOOP: list[Any] = []
LOOP.append(LOOP)
NAMES: dict[str, Any] = {
    "hubnet": hubnet, "ID": ID, "RECORD": RECORD, "LONG": LONG, "LOOP": LOOP, "HUGE": 10**5000, "nested": nested,
    "Broken": Broken, "BrokenStr": BrokenStr, "BrokenAttributes": BrokenAttributes, "BrokenIterator": BrokenIterator,
    "Holder": Holder, "endless": lambda: itertools.repeat("a"), "nan": float("nan"), "inf": float("inf"),
    "Unpicklable": Unpicklable, "worker": hubnet.RemotePeer(ID, RECORD),
}  # fmt: skip


@pytest.fixture(autouse=True)
def off_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's peer has been stopped: what passes all checks is told so at once, and nothing is ever started."""
    gone = _Peer(settings=Settings(autostart=False))
    gone.stop()
    monkeypatch.setenv("HUBNET_AUTOSTART", "0")
    monkeypatch.setattr(environment, "_settings", gone.settings)
    monkeypatch.setattr(hubnet.peer, "_peer", gone)
    monkeypatch.setattr(logging.getLogger("hubnet"), "disabled", True)
    NAMES["peer"] = gone
    NAMES["f"] = hubnet.connect("known")(lambda *args, **kwargs: args)
    NAMES["tell"] = hubnet.event("told")(lambda pair: pair)
    NAMES["unrun"] = hubnet.connect("unrun")(lambda *args, **kwargs: pytest.fail("it ran"))
    NAMES["unrun_later"] = hubnet.connect("unrun later")(_later)


A_PEER = "a peer id (bytes or str), (host, port), a record out of hubnet.peers(), or a hubnet.RemotePeer"
UTF8 = f"at most {LONGEST_NAME} bytes in UTF-8"
GROUPS = "a group's name or a list of names"
ONE_SWITCH = "is a bool"
LISTS = "a record, a RemotePeer, a result of hubnet.peers(), or a list of these"
SECONDS = "is a number of seconds or None"
POSITIVE = "is more than 0 seconds and at most 1000000000"
HOST = "a name or an IP address, without port, brackets or spaces"

# the call, what it raises, and what the error says: the parameter, what is allowed, what came
CONNECT = [
    ("hubnet.connect(5)", TypeError, "connect(tag=…)", "a str or nothing", "int: 5"),
    ("hubnet.connect(b'tag')", TypeError, "connect(tag=…)", "a str or nothing", "bytes: b'tag'"),
    ("hubnet.connect(['tag'])", TypeError, "connect(tag=…)", "a str or nothing", "list: ['tag']"),
    ("hubnet.connect(True)", TypeError, "connect(tag=…)", "a str or nothing", "bool: True"),
    ("hubnet.connect(HUGE)", TypeError, "connect(tag=…)", "a str or nothing", "int that cannot be shown"),
    ("hubnet.connect(nested(20_000))", TypeError, "connect(tag=…)", "a str or nothing", "list: [[[["),
    ("hubnet.connect(Broken())", TypeError, "connect(tag=…)", "a str or nothing", "Broken"),
    ("hubnet.connect([Broken()])", TypeError, "connect(tag=…)", "a str or nothing", "list: [<Broken"),
    ("hubnet.connect('')", ConfigError, "connect(tag=…)", "empty", "give it a name"),
    ("hubnet.connect('\\udcff')", ConfigError, "connect(tag=…)", "UTF-8", r"'\udcff'"),
    ("hubnet.connect(LONG)", ConfigError, "connect(tag=…)", UTF8, "10000: str: 'xxx"),
    ("hubnet.connect('é' * 3000)", ConfigError, "connect(tag=…)", UTF8, "6000: str: 'é"),
    ("hubnet.connect(int)", TypeError, "connect", "takes a function", "type: <class 'int'>"),
    ("hubnet.connect('t')(None)", TypeError, "connect", "takes a function", "NoneType: None"),
    ("hubnet.connect('t')(Broken())", TypeError, "connect", "takes a function", "Broken"),
    ("hubnet.connect('t')(staticmethod(len))", TypeError, "connect", "takes a function", "staticmethod"),
    ("hubnet.connect('t')(lambda peer: 1)", ConfigError, "'peer'", "rename it", "<lambda>()"),
    ("hubnet.connect('t')(lambda *, time_out: 1)", ConfigError, "'time_out'", "rename it", "<lambda>()"),
    ("hubnet.connect('t', idempotent=1)", TypeError, "connect(idempotent=…)", ONE_SWITCH, "int: 1"),
    ("hubnet.connect('t', idempotent='no')", TypeError, "connect(idempotent=…)", ONE_SWITCH, "str: 'no'"),
    ("hubnet.connect('t', idempotent=None)", TypeError, "connect(idempotent=…)", ONE_SWITCH, "NoneType: None"),
    ("hubnet.connect('t', idempotent=Broken())", TypeError, "connect(idempotent=…)", ONE_SWITCH, "Broken"),
    ("hubnet.connect('t', limit=0)", ConfigError, "connect(limit=…)", "None or a whole number from 1", "int: 0"),
    ("hubnet.connect('t', limit=-1)", ConfigError, "connect(limit=…)", "None or a whole number from 1", "int: -1"),
    ("hubnet.connect('t', limit=True)", TypeError, "connect(limit=…)", "None or a whole number", "bool: True"),
    ("hubnet.connect('t', limit=2.0)", TypeError, "connect(limit=…)", "None or a whole number", "float: 2.0"),
    ("hubnet.connect('t', limit=nan)", TypeError, "connect(limit=…)", "None or a whole number", "float: nan"),
    ("hubnet.connect('t', limit='3')", TypeError, "connect(limit=…)", "None or a whole number", "str: '3'"),
    ("hubnet.connect('t', limit=HUGE)", ConfigError, "connect(limit=…)", "to 1000000", "int that cannot"),
]
CALL = [
    (f"{function}(peer={code})", *rest)
    for function in ("f", "hubnet.info", "hubnet.pass_through", "hubnet.null", "hubnet.stats", "hubnet.connections")
    for code, *rest in [
        ("None", TypeError, "peer=", A_PEER, "NoneType: None"),
        ("5", TypeError, "peer=", A_PEER, "int: 5"),
        ("''", ValueError, "peer=", "base64 of 'host:port -> group'", "str: ''"),
        ("'junk'", ValueError, "peer=", "base64 of 'host:port -> group'", "str: 'junk'"),
        ("LONG", ValueError, "peer=", "base64 of 'host:port -> group'", "str: 'xxx"),
        ("b'10.0.0.1:3010 -> render'", ValueError, "peer=", "base64 of 'host:port -> group'", "bytes: b'10.0"),
        ("ID + b'='", ValueError, "peer=", "base64 of 'host:port -> group'", "bytes: b'MTA"),
        ("BrokenStr('junk')", ValueError, "peer=", "base64 of 'host:port -> group'", "BrokenStr"),
        ("Holder()", ValueError, "peer=", "base64 of 'host:port -> group'", "bytes: b'junk'"),
        ("['10.0.0.1', 3010]", TypeError, "peer=", A_PEER, "list: ['10.0.0.1', 3010]"),
        ("('10.0.0.1', '3010')", TypeError, "peer=", A_PEER, "tuple: ('10.0.0.1', '3010')"),
        ("('10.0.0.1', True)", TypeError, "peer=", A_PEER, "tuple: ('10.0.0.1', True)"),
        ("('10.0.0.1', 0)", ValueError, "peer=", "port is a whole number from 1 to 65535", "int: 0"),
        ("('10.0.0.1', 65536)", ValueError, "peer=", "port is a whole number from 1 to 65535", "int: 65536"),
        ("('', 3010)", ValueError, "peer=", HOST, "str: ''"),
        ("('10.0.0.1:3010', 3010)", ValueError, "peer=", HOST, "str: '10.0.0.1:3010'"),
        ("('a host', 3010)", ValueError, "peer=", HOST, "str: 'a host'"),
        ("('host\\0', 3010)", ValueError, "peer=", HOST, r"str: 'host\x00'"),
        ("('\\udcff', 3010)", ValueError, "peer=", "host is a str that UTF-8 can hold", r"'\udcff'"),
        ("('x' * 300, 3010)", ValueError, "peer=", HOST, "str: 'xxx"),
        ("{'host': None, 'port': 1, 'group': 'g'}", TypeError, "peer=", "host is a str", "NoneType: None"),
        ("{'host': 'h', 'port': '1', 'group': 'g'}", TypeError, "peer=", "port is a whole number", "str: '1'"),
        ("{'host': 'h', 'port': 1, 'group': ['g']}", TypeError, "peer=", "a group is a str", "list: ['g']"),
        ("{'host': 'h', 'port': 1, 'group': 'peers'}", ConfigError, "peer=", "may not be called 'peers'", "choose"),
        ("{'host': 'h'}", TypeError, "peer=", A_PEER, "dict: {'host': 'h'}"),
        ("Broken()", TypeError, "peer=", A_PEER, "Broken"),
        ("BrokenAttributes()", TypeError, "peer=", A_PEER, "BrokenAttributes"),
    ]
]
TIMEOUT = [
    (call.format(f"{spelling}={code}"), kind, spelling, allowed, came)
    for call in (
        "f(1, peer=ID, {})",
        "f(1, peer=('10.0.0.1', 1), {})",
        "worker.call('t', {})",
        "worker.render({})",
        "unrun(1, {})",
        "unrun_later(1, {})",
        "hubnet.pass_through(1, {})",
    )
    for spelling in ("timeout", "time_out")
    for code, kind, allowed, came in [
        ("'5'", TypeError, SECONDS, "str: '5'"),
        ("True", TypeError, SECONDS, "bool: True"),
        ("[5]", TypeError, SECONDS, "list: [5]"),
        ("1j", TypeError, SECONDS, "complex: 1j"),
        ("Broken()", TypeError, SECONDS, "Broken"),
        ("0", ValueError, POSITIVE, "int: 0"),
        ("-0.5", ValueError, POSITIVE, "float: -0.5"),
        ("nan", ValueError, POSITIVE, "float: nan"),
        ("inf", ValueError, POSITIVE, "float: inf"),
        ("1e300", ValueError, POSITIVE, "float: 1e+300"),
        ("HUGE", ValueError, POSITIVE, "int that cannot be shown"),
    ]
] + [
    ("f(peer=ID, timeout=1, time_out=2)", TypeError, "timeout given twice", "timeout=int: 1", "time_out=int: 2"),
    ("worker.call('t', timeout=1, time_out=2)", TypeError, "timeout given twice", "timeout=int: 1", "time_out=int: 2"),
    ("unrun(timeout=1, time_out=2)", TypeError, "timeout given twice", "timeout=int: 1", "time_out=int: 2"),
    ("unrun_later(timeout=1, time_out=2)", TypeError, "timeout given twice", "timeout=int: 1", "time_out=int: 2"),
]
EVENTS = [
    (f"{decorator}({code})", *rest)
    for decorator in ("hubnet.event", "hubnet.subscribe")
    for code, *rest in [
        ("None", TypeError, "an event's name", "is a str", "NoneType: None"),
        ("b'done'", TypeError, "an event's name", "is a str", "bytes: b'done'"),
        ("LONG.encode()", TypeError, "an event's name", "is a str", "bytes: b'xxx"),
        ("['done']", TypeError, "an event's name", "is a str", "list: ['done']"),
        ("len", TypeError, "an event's name", "is a str", "builtin_function_or_method"),
        ("Broken()", TypeError, "an event's name", "is a str", "Broken"),
        ("''", ConfigError, "an event's name", "may not be empty", "''"),
        ("'a*'", ConfigError, "an event's name", "contain '*'", "str: 'a*'"),
        ("LONG + '*'", ConfigError, "an event's name", UTF8, "10001: str: 'xxx"),
        ("'x' * 3000 + '*'", ConfigError, "an event's name", "contain '*'", "str: 'xxx"),
        ("'\\udcff'", ConfigError, "an event's name", "UTF-8", r"'\udcff'"),
    ]
] + [
    ("hubnet.event('e')(5)", TypeError, "event('e')", "takes a function", "int: 5"),
    ("hubnet.event('e')(Broken())", TypeError, "event('e')", "takes a function", "Broken"),
    ("hubnet.subscribe('e')('f')", TypeError, "subscribe('e')", "takes a function", "str: 'f'"),
    ("hubnet.subscribe('e')(nested(20_000))", TypeError, "subscribe('e')", "takes a function", "list: [[[["),
    ("hubnet.event('e', durable=1)", TypeError, "event('e')", 'durable is True, False or "replicated"', "int: 1"),
    ("hubnet.event('e', durable=BrokenStr('x'))", ValueError, "event('e')", "durable is True", "str: 'x'"),
    ("tell(None)", TypeError, "event 'told'", "must return (args, kwargs), a tuple and a dict", "NoneType: None"),
    ("tell(((),))", TypeError, "event 'told'", "must return (args, kwargs), a tuple and a dict", "tuple: ((),)"),
    ("tell([(), {}])", TypeError, "event 'told'", "must return (args, kwargs), a tuple and a dict", "list: [(), {}]"),
    (
        "tell(('a', {}))",
        TypeError,
        "event 'told'",
        "must return (args, kwargs), a tuple and a dict",
        "tuple: ('a', {})",
    ),
    ("tell(((), []))", TypeError, "event 'told'", "must return (args, kwargs), a tuple and a dict", "tuple: ((), [])"),
    ("tell(((), {5: 1}))", TypeError, "event 'told'", "the names of kwargs are str", "dict: {5: 1}"),
    ("tell(Broken())", TypeError, "event 'told'", "must return (args, kwargs)", "Broken"),
    ("tell((Broken(), Broken()))", TypeError, "event 'told'", "must return (args, kwargs)", "tuple: (<Broken"),
    ("tell(((), {'a': (i for i in [])}))", EncodeError, "a tuple", "cannot be pickled", "generator"),
]
SUBSCRIBE = [
    (f"hubnet.subscribe('e', {parameter}={code})", kind, f"{parameter}=", *rest)
    for parameter in ("groups", "peers")
    for code, kind, *rest in [
        ("5", TypeError, LISTS, "int: 5"),
        ("True", TypeError, LISTS, "bool: True"),
        ("1.5", TypeError, LISTS, "float: 1.5"),
        ("{'host': 'h'}", TypeError, LISTS, "dict: {'host': 'h'}"),
        ("(name for name in ['a'])", TypeError, LISTS, "generator"),
        ("endless()", TypeError, LISTS, "repeat"),
        ("[5]", TypeError, LISTS, "int: 5"),
        ("[[b'junk']]", ValueError, LISTS, "bytes: b'junk'"),
        ("b'junk'", ValueError, "base64 of 'host:port -> group'", "bytes: b'junk'"),
        ("Holder()", ValueError, "base64 of 'host:port -> group'", "bytes: b'junk'"),
        ("{'host': 'h', 'port': 'x', 'group': 'g'}", TypeError, "port is a whole number", "str: 'x'"),
        ("nested(10)", ValueError, "lists at most 8 deep", "list: [[[]]]"),
        ("nested(20_000)", ValueError, "lists at most 8 deep", "list: [[[["),
        ("LOOP", ValueError, "lists at most 8 deep", "list: [[[[...]]]]"),
        ("Broken()", TypeError, LISTS, "Broken"),
        ("[Broken()]", TypeError, LISTS, "Broken"),
        ("BrokenAttributes()", TypeError, LISTS, "BrokenAttributes"),
    ]
] + [
    ("hubnet.subscribe('e', groups='peers')", ConfigError, "groups", "may not be called 'peers'", "another name"),
    ("hubnet.subscribe('e', groups=['a', 'peers'])", ConfigError, "groups", "may not be called 'peers'", "another"),
    ("hubnet.subscribe('e', groups='\\udcff')", ConfigError, "groups", "UTF-8", r"'\udcff'"),
    ("hubnet.subscribe('e', groups=LONG)", ConfigError, "groups", UTF8, "10000: str: 'xxx"),
    ("hubnet.subscribe('e', peers='junk')", ValueError, "peers=", "base64 of 'host:port -> group'", "str: 'junk'"),
    ("hubnet.subscribe('e', peers=('10.0.0.1', 1))", ValueError, "peers=", "base64 of", "str: '10.0.0.1'"),
    ("hubnet.subscribe('e', peers=[None])", TypeError, "peers=", LISTS, "NoneType: None"),
    *[
        (f"hubnet.subscribe('e', {switch}={code})", TypeError, switch, ONE_SWITCH, came)
        for switch in ("hubs_only", "on_host", "local")
        for code, came in [("1", "int: 1"), ("'no'", "str: 'no'"), ("[]", "list: []"), ("Broken()", "Broken")]
    ],
    ("hubnet.subscribe('e', hubs_only=None)", TypeError, "hubs_only", ONE_SWITCH, "NoneType: None"),
    ("hubnet.subscribe('e', local=None)", TypeError, "local", ONE_SWITCH, "NoneType: None"),
    ("hubnet.subscribe('e', overflow=None)", TypeError, 'overflow is "oldest" or "newest"', "NoneType: None"),
    ("hubnet.subscribe('e', overflow=BrokenStr('all'))", ValueError, 'overflow is "oldest" or "newest"', "str: 'all'"),
    ("hubnet.subscribe('e', queue=0)", ConfigError, "queue is a number of events from 1 to", "int: 0"),
    ("hubnet.subscribe('e', queue='9')", TypeError, "queue is a number of events from 1 to", "str: '9'"),
    ("hubnet.subscribe('e', since='soon')", ValueError, "since", '"90s", "5m", "2h" or "1d"', "str: 'soon'"),
    ("hubnet.subscribe('e', since=[5])", TypeError, "since", "a number of seconds", "list: [5]"),
    ("hubnet.subscribe('e', since=0)", ValueError, "since", POSITIVE, "int: 0"),
    ("hubnet.subscribe('e', since=nan)", ValueError, "since", POSITIVE, "float: nan"),
    ("hubnet.subscribe('e', on_gap=5)", TypeError, "on_gap takes a function of one hubnet.Gap", "int: 5"),
    ("hubnet.subscribe('e', on_gap=Broken())", TypeError, "on_gap takes a function", "Broken"),
]
FLAGS = [
    ("hubnet.flag(5)", TypeError, "a flag's name", "is a str", "int: 5"),
    ("hubnet.flag(None)", TypeError, "a flag's name", "is a str", "NoneType: None"),
    ("hubnet.flag(len)", TypeError, "a flag's name", "is a str", "builtin_function_or_method"),
    ("hubnet.flag(Broken())", TypeError, "a flag's name", "is a str", "Broken"),
    ("hubnet.flag('')", TypeError, "a flag's name", "at least one character", "''"),
    ("hubnet.flag('\\udcff')", ConfigError, "a flag's name", "UTF-8", r"'\udcff'"),
    ("hubnet.flag(LONG)", ConfigError, "a flag's name", UTF8, "10000: str: 'xxx"),
    ("hubnet.flag('x')(5)", TypeError, "flag('x')", "takes a function", "int: 5"),
    ("hubnet.flag('x')(Broken())", TypeError, "flag('x')", "takes a function", "Broken"),
    *[
        (f"hubnet.{handler}({arguments})", TypeError, *texts)
        for handler in ("invalid_connection", "null_response")
        for arguments, *texts in [
            ("5, {}", "connection", "is a tag, a str", "int: 5"),
            ("None, {}", "connection", "is a tag, a str", "NoneType: None"),
            ("'t', None", "foreign_peer_id", "(dict)", "NoneType: None"),
            ("'t', ID", "foreign_peer_id", "(dict)", "bytes: b'MTA"),
            ("'t', Broken()", "foreign_peer_id", "(dict)", "Broken"),
        ]
    ],
    ("hubnet.invalid_connection('t', {'connections': 5})", TypeError, "foreign_peer_id", "tags (str)", "int: 5"),
    ("hubnet.invalid_connection('t', {'connections': [5]})", TypeError, "foreign_peer_id", "tags (str)", "list: [5]"),
]
LISTING = [
    (call.format(code), kind, parameter, *rest)
    for call, parameter in [
        ("hubnet.peers({})", "groups"),
        ("hubnet.peers(groups={})", "groups"),
        ("hubnet.peer_group({})", "name"),
        ("hubnet.wait_for(1, {})", "groups"),
    ]
    for code, kind, *rest in [
        ("5", TypeError, GROUPS, "int: 5"),
        ("1.5", TypeError, GROUPS, "float: 1.5"),
        ("b'group1'", TypeError, GROUPS, "bytes: b'group1'"),
        ("LONG.encode()", TypeError, GROUPS, "bytes: b'xxx"),
        ("{'group1': 1}", TypeError, GROUPS, "dict: {'group1': 1}"),
        ("memoryview(b'ab')", TypeError, GROUPS, "memoryview"),
        ("Broken()", TypeError, GROUPS, "Broken"),
        ("BrokenIterator()", TypeError, GROUPS, "BrokenIterator"),
        ("endless()", ValueError, "at most 100000 names", "repeat('a')"),
        ("range(10**12)", ValueError, "at most 100000 names", "range(0, 1000000000000)"),
        ("[5]", TypeError, "a group is a str", "int: 5"),
        ("['a', ['b']]", TypeError, "a group is a str", "list: ['b']"),
        ("[Broken()]", TypeError, "a group is a str", "Broken"),
        ("nested(20_000)", TypeError, "a group is a str", "list: [[[["),
        ("'peers'", ConfigError, "may not be called 'peers'", "another name"),
        ("['a', 'peers']", ConfigError, "may not be called 'peers'", "another name"),
        ("'\\udcff'", ConfigError, "a group is a str that UTF-8 can hold", r"'\udcff'"),
        ("['\\udcff']", ConfigError, "a group is a str that UTF-8 can hold", r"'\udcff'"),
        ("LONG", ConfigError, UTF8, "10000: str: 'xxx"),
    ]
] + [
    (call.format(code), TypeError, call.rpartition("=")[0].rpartition(" ")[2].rpartition("(")[2], ONE_SWITCH, came)
    for call in [
        "hubnet.peers(refresh={})", "hubnet.peers(on_host={})", "hubnet.peers(hubs_only={})", "hubnet.peer_group(hubs_only={})",
        "hubnet.peer_group(on_host={})", "hubnet.wait_for(1, hubs_only={})", "hubnet.serve(main_thread={})",
    ]
    for code, came in [
        ("None", "NoneType: None"), ("0", "int: 0"), ("'no'", "str: 'no'"), ("[True]", "list: [True]"), ("Broken()", "Broken"),
    ]
] + [
    ("hubnet.peers('a', 'b')", TypeError, "refresh is a bool", "str: 'b'"),
    ("hubnet.peers('a', groups='b')", TypeError, "groups given twice", "str: 'a'", "str: 'b'"),
    ("hubnet.peers(Broken(), Broken())", TypeError, "refresh is a bool", "Broken"),
    ("hubnet.peers(True, None, 'x')", TypeError, "on_host is a bool", "str: 'x'"),
    ("hubnet.peers(True, 'a', True, True, True)", TypeError, "refresh, groups, on_host and hubs_only", "5"),
    ("hubnet.peers(True, 'a', hubs_only=True, groups='b')", TypeError, "groups given twice", "str: 'a'", "str: 'b'"),
    ("hubnet.peers(groups=True)", TypeError, "groups", GROUPS, "bool: True"),
    *[
        (f"hubnet.wait_for({code})", kind, "wait_for(n)", "a number of peers from 0 to 1000000", came)
        for code, kind, came in [
            ("None", TypeError, "NoneType: None"), ("'3'", TypeError, "str: '3'"), ("True", TypeError, "bool: True"),
            ("3.0", TypeError, "float: 3.0"), ("nan", TypeError, "float: nan"), ("[3]", TypeError, "list: [3]"),
            ("Broken()", TypeError, "Broken"), ("-1", ConfigError, "int: -1"), ("HUGE", ConfigError, "cannot be shown"),
        ]
    ],
    ("hubnet.wait_for(1, timeout=None)", TypeError, "timeout", "is a number of seconds, not", "NoneType: None"),
    ("hubnet.wait_for(1, timeout='5')", TypeError, "timeout", "is a number of seconds, not", "str: '5'"),
    ("hubnet.wait_for(1, timeout=0)", ValueError, "timeout", POSITIVE, "int: 0"),
    ("hubnet.wait_for(1, timeout=nan)", ValueError, "timeout", POSITIVE, "float: nan"),
    ("hubnet.wait_for(1, timeout=HUGE)", ValueError, "timeout", POSITIVE, "int that cannot be shown"),
]  # fmt: skip
REMOTE_PEER = [
    ("hubnet.RemotePeer(5, RECORD)", TypeError, "RemotePeer(peer_id, …)", "an id as bytes", "int: 5"),
    ("hubnet.RemotePeer('junk', RECORD)", TypeError, "RemotePeer(peer_id, …)", "an id as bytes", "str: 'junk'"),
    ("hubnet.RemotePeer(b'junk', RECORD)", ValueError, "peer id", "base64 of 'host:port -> group'", "bytes: b'junk'"),
    ("hubnet.RemotePeer(ID, None)", TypeError, "RemotePeer(…, record)", "out of hubnet.peers()", "NoneType: None"),
    ("hubnet.RemotePeer(ID, {})", TypeError, "RemotePeer(…, record)", "out of hubnet.peers()", "dict: {}"),
    ("worker.call(5)", TypeError, "call(tag, …)", "a str", "int: 5"),
    ("worker.call(b'tag')", TypeError, "call(tag, …)", "a str", "bytes: b'tag'"),
    ("worker.call(Broken())", TypeError, "call(tag, …)", "a str", "Broken"),
    ("worker.call('')", ConfigError, "call(tag, …)", "tag", "empty"),
    ("worker.call('\\udcff')", ConfigError, "call(tag, …)", "UTF-8", r"'\udcff'"),
    ("worker.call(LONG)", ConfigError, "call(tag, …)", UTF8, "10000: str: 'xxx"),
    ("worker.call('t', peer=ID)", TypeError, "call(tag, …)", "no peer=", "bytes: b'MTA"),
    ("worker.render(peer=Broken())", TypeError, "call(tag, …)", "no peer=", "Broken"),
]
PEER = [
    ("peer.generate_id('1', 'h')", TypeError, "port", "a whole number from 0 to 65535", "str: '1'"),
    ("peer.generate_id(True, 'h')", TypeError, "port", "a whole number from 0 to 65535", "bool: True"),
    ("peer.generate_id(1.0, 'h')", TypeError, "port", "a whole number from 0 to 65535", "float: 1.0"),
    ("peer.generate_id(-1, 'h')", ConfigError, "port", "a whole number from 0 to 65535", "int: -1"),
    ("peer.generate_id(HUGE, 'h')", ConfigError, "port", "a whole number from 0 to 65535", "cannot be shown"),
    ("peer.generate_id('10.0.0.1', 3010)", TypeError, "host", "is a str", "int: 3010"),
    ("peer.generate_id(1, None)", TypeError, "host", "is a str", "NoneType: None"),
    ("peer.generate_id(1, endless())", TypeError, "host", "is a str", "repeat"),
    ("peer.generate_id(1, '')", ConfigError, "host", HOST, "str: ''"),
    ("peer.generate_id(1, '[::1]')", ConfigError, "host", HOST, "str: '[::1]'"),
    ("peer.generate_id(1, 'h:1')", ConfigError, "host", HOST, "str: 'h:1'"),
    ("peer.generate_id(1, 'h -> g')", ConfigError, "host", HOST, "str: 'h -> g'"),
    ("peer.generate_id(1, '\\udcff')", ConfigError, "host", "UTF-8", r"'\udcff'"),
    ("peer.generate_id(1, LONG)", ConfigError, "host", UTF8, "str: 'xxx"),
    ("peer.generate_id(1, 'h', 5)", TypeError, "group", "is a str", "int: 5"),
    ("peer.generate_id(1, 'h', Broken())", TypeError, "group", "is a str", "Broken"),
    ("peer.generate_id(1, 'h', 'peers')", ConfigError, "group", "may not be called 'peers'", "choose another name"),
    ("peer.generate_id(1, 'h', LONG)", ConfigError, "group", UTF8, "10000: str: 'xxx"),
    ("peer.decode_id(None)", TypeError, "a peer id", "is bytes or str", "NoneType: None"),
    ("peer.decode_id(10**12)", TypeError, "a peer id", "is bytes or str", "int: 1000000000000"),
    ("peer.decode_id(endless())", TypeError, "a peer id", "is bytes or str", "repeat"),
    ("peer.decode_id(Broken())", TypeError, "a peer id", "is bytes or str", "Broken"),
    ("peer.decode_id('junk')", ValueError, "a peer id", "base64 of 'host:port -> group'", "str: 'junk'"),
    ("peer.decode_id(LONG)", ValueError, "a peer id", "base64 of 'host:port -> group'", "str: 'xxx"),
    ("peer.decode_id(BrokenStr('junk'))", ValueError, "a peer id", "base64 of 'host:port -> group'", "BrokenStr"),
    ("peer.register_connection(5)", TypeError, "register_connection", "takes a function", "int: 5"),
    ("peer.register_connection(len, 5)", TypeError, "register_connection(…, tag)", "a str or nothing", "int: 5"),
    ("peer.register_connection(len, '')", ConfigError, "register_connection(…, tag)", "empty", "give it a name"),
    ("peer.register_connection(len, '\\udcff')", ConfigError, "register_connection(…, tag)", "UTF-8", r"'\udcff'"),
    ("peer.register_flag(5, len)", TypeError, "register_flag(name, …)", "a str", "int: 5"),
    ("peer.register_flag('', len)", ConfigError, "register_flag(name, …)", "empty", "name"),
    ("peer.register_flag('x', 5)", TypeError, "register_flag('x', handler)", "a function", "int: 5"),
    ("peer.get_flag(['x'])", TypeError, "get_flag(name)", "a str", "list: ['x']"),
    ("peer.get_flag(Broken())", TypeError, "get_flag(name)", "a str", "Broken"),
    ("peer.get_flag('x' * 4000)", UnknownFlag, "no flag 'xxx", "there are: ", "@hubnet.flag"),
    ("peer.decode(None)", TypeError, "decode(data)", "bytes", "NoneType: None"),
    ("peer.decode('x')", TypeError, "decode(data)", "bytes", "str: 'x'"),
    ("peer.encode(Unpicklable())", EncodeError, "Unpicklable", "cannot be pickled", "_Unspeakable"),
    ("peer.encode((i for i in []))", EncodeError, "generator", "cannot be pickled", "generator"),
]
CONFIGURE = [
    (f"hubnet.configure({field}={code})", ConfigError, f"configure({field}=…)", allowed, came)
    for field, allowed, *codes in [
        ("group", "a str or None", ("5", "int 5"), ("b'g'", "bytes b'g'"), ("['g']", "list ['g']"), ("LOOP", "list [[[["),
         ("Broken()", "Broken"), ("HUGE", "int"), ("True", "bool True")),
        ("group", "any name but 'peers'", ("'peers'", "'peers'")),
        ("group", f"text of {UTF8}", ("LONG", "'xxx")),
        ("group", "text in UTF-8", ("'\\udcff'", r"'\udcff'")),
        ("is_hub", "True or False", ("1.5j", "complex 1.5j"), ("[]", "list []"), ("Broken()", "Broken")),
        ("is_hub", "1, true, yes, on, 0, false, no or off", ("2", "'2'"), ("'perhaps'", "'perhaps'"), ("nan", "'nan'")),
        ("port", "a whole number", ("True", "bool True"), ("[5]", "list [5]"), ("Broken()", "Broken")),
        ("port", "a whole number from 0 to 65535", ("None", "''"), ("-1", "'-1'"), ("5.0", "'5.0'"), ("nan", "'nan'"),
         ("HUGE", ""), ("LONG", "'xxx"), ("'9' * 5000", "'999")),
        ("host", "an IP address or a name", ("'a b'", "'a b'"), ("'h\\0'", r"'h\x00'"), ("'h:1'", "'h:1'"), ("LONG", "'xxx")),
        ("host", "text in UTF-8", ("'\\udcff'", r"'\udcff'")),
        ("host", "a str or None", ("5", "int 5"), ("('h', 1)", "tuple ('h', 1)")),
        ("advertise", "host or host:port", ("'a:b:c'", "'a:b:c'"), ("'h\\0'", r"'h\x00'"), ("LONG", "'xxx")),
        ("advertise", "a str or None", ("('h', 1)", "tuple ('h', 1)")),
        ("redis_url", "redis://", ("'http://h'", "'http://h'"), ("LONG", "'xxx")),
        ("redis_url", "a port from 1 to 65535", ("'redis://h:' + '9' * 5000", "'redis://h:***'")),
        ("redis_url", "text without NUL", ("'redis://h\\0'", r"'redis://h\x00'")),
        ("redis_url", "text in UTF-8", ("'redis://\\udcff'", r"\udcff")),
        ("redis_url", "a str or None", ("['redis://h']", "list (hidden)")),
        ("redis_server", "a path, which holds no NUL", ("'/a\\0'", r"'/a\x00'")),
        ("secret_file", "a str or None", ("5", "int 5"), ("b'/a'", "bytes b'/a'")),
        ("namespace", "1 to 200 letters, digits, '_', '.' and '-'", ("''", "''"), ("'a b'", "'a b'"), ("LONG", "'xxx")),
        ("namespace", "a str or None", ("5", "int 5")),
        ("hubs", "host:port, several separated by commas", ("5", "'5'"), ("'h'", "'h'"), ("['h']", "'h'"), ("[5]", "'5'"),
         ("[('h', 70000)]", "'h:70000'"), ("[('h', HUGE)]", "'h:")),
        ("hubs", "a list or a str", ("[('h',)]", "list [('h',)]"), ("[('h', '1')]", "list [('h', '1')]"),
         ("[[]]", "list [[]]"), ("LOOP", "list [[[["), ("[Broken()]", "list [<Broken"), ("{'h': 1}", "dict {'h': 1}"),
         ("endless()", "repeat repeat('a')")),
        ("secret", "a str or None", ("5", "int (hidden)"), ("b'sesame'", "bytes (hidden)"), ("[Broken()]", "list (hidden)")),
        ("secret", "text in UTF-8", ("'sesame\\udcff'", "(hidden)")),
        ("thread_limit", "a whole number from 1 to 512", ("0", "'0'"), ("513", "'513'")),
        ("lease", "a number of seconds", ("True", "bool True"), ("[5]", "list [5]"), ("Broken()", "Broken")),
        ("lease", "seconds from 0.3 to 3600", ("0", "'0'"), ("nan", "'nan'"), ("inf", "'inf'"), ("'1e400'", "'1e400'"),
         ("HUGE", "")),
        ("wire", "auto or sealed or tls or open-mac", ("'plain'", "'plain'"), ("None", "''"), ("LONG", "'xxx")),
        ("outbox", "bytes and number of events", ("'much'", "'much'"), ("-1", "'-1'"), ("'9' * 5000", "'999"),
         ("(1, 2, 3)", "'1,2,3'")),
        ("timeout", "seconds from 0.05 to 86400", ("None", "''"), ("'x'", "'x'"), ("-1.5", "'-1.5'")),
        ("autostart", "True or False", ("Broken()", "Broken")),
        ("dev", "1, true, yes, on, 0, false, no or off", ("'maybe'", "'maybe'")),
    ]
    for code, came in codes
] + [
    ("hubnet.configure(groop='x')", ConfigError, "configure()", "there are: group, ", "'groop'"),
    ("hubnet.configure(**{LONG: 1})", ConfigError, "configure()", "there are: group, ", "'xxx"),
]  # fmt: skip
DESCRIBE = [
    ("hubnet.describe(a=object())", TypeError, "describe(a=…)", "a str, a number, True, False, or a list", "object"),
    ("hubnet.describe(a=b'x')", TypeError, "describe(a=…)", "a str, a number", "bytes: b'x'"),
    ("hubnet.describe(a={'b': 1})", TypeError, "describe(a=…)", "a str, a number", "dict: {'b': 1}"),
    ("hubnet.describe(a=[['b']])", TypeError, "describe(a=…)", "a str, a number", "list: [['b']]"),
    ("hubnet.describe(a=[None])", TypeError, "describe(a=…)", "a str, a number", "list: [None]"),
    ("hubnet.describe(a=LOOP)", TypeError, "describe(a=…)", "a str, a number", "list: ["),
    ("hubnet.describe(a=Broken())", TypeError, "describe(a=…)", "a str, a number", "Broken"),
    ("hubnet.describe(a=nan)", ValueError, "describe(a=…)", "a finite number", "float: nan"),
    ("hubnet.describe(a=HUGE)", ValueError, "describe(a=…)", "at most 64 bits", "int that cannot be shown"),
    ("hubnet.describe(a='\\udcff')", ConfigError, "describe(a=…)", "UTF-8", r"'\udcff'"),
    ("hubnet.describe(a='x' * 4090)", ValueError, "describe(a)", "4099 bytes", "at most 4096"),
    ("hubnet.describe(1)", TypeError, "describe()", "0 positional arguments"),
]
TABLE = [*DESCRIBE, *CONNECT, *CALL, *TIMEOUT, *EVENTS, *SUBSCRIBE, *FLAGS, *LISTING, *REMOTE_PEER, *PEER, *CONFIGURE]


@pytest.mark.parametrize(("call", "kind", "texts"), [(call, kind, texts) for call, kind, *texts in TABLE], ids=ascii)
def test_a_wrong_argument_is_named_with_what_came_and_what_is_allowed(
    call: str, kind: type[Exception], texts: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        eval(call, NAMES)
    for text in texts:
        assert text in str(caught.value)
    assert len(str(caught.value)) < LONGEST_ERROR


def test_a_setting_is_refused_as_a_whole_and_the_secret_never_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        hubnet.configure(group="fine", secret=["sesame", 5, b"sesame"])
    assert "sesame" not in str(caught.value)
    assert environment._wishes.get("group") != "fine"


def test_the_handler_of_a_missing_connection_still_says_so() -> None:
    with pytest.raises(InvalidConnection, match="'t' at h:1; it has: a, b"):
        hubnet.invalid_connection("t", {"host": "h", "port": 1, "connections": ["a", "b"]})


# -- junk ------------------------------------------------------------------------------------------------------------

TEXT = (
    st.text(max_size=20) | st.text(st.characters(), max_size=20) | st.sampled_from(["peers", "a*", "\udcff", "\0"])
    | st.integers(4_000, 70_000).map("x".__mul__)
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.just(5000).map(lambda digits: 10**digits) | st.floats()
    | st.complex_numbers() | TEXT | st.binary(max_size=60) | st.sampled_from([ID, ID.decode(), ID[:-1], object, len, LOOP])
)  # fmt: skip
STRANGE = (
    st.builds(Broken) | st.builds(BrokenStr, TEXT) | st.builds(BrokenAttributes) | st.builds(BrokenIterator)
    | st.builds(Holder) | st.builds(object) | st.builds(itertools.repeat, SCALARS) | st.builds(itertools.count)
    | st.builds(iter, st.lists(SCALARS, max_size=3)) | st.builds(nested, st.sampled_from([3, 9, 20_000]))
    | st.builds(range, st.integers(0, 10**15)) | st.builds(bytearray) | st.builds(memoryview, st.binary())
)  # fmt: skip
RECORDS = st.fixed_dictionaries({"host": SCALARS, "port": SCALARS, "group": SCALARS}, optional={"connections": SCALARS})
JUNK = st.recursive(
    SCALARS | STRANGE | RECORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.tuples(inner, st.integers(-1, 70_000))
        | st.dictionaries(TEXT | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


def _decorated(decorator: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **given: decorator(**given)(lambda *args: None)


def _missing(**given: Any) -> None:
    try:
        hubnet.invalid_connection(**{"connection": "t", "foreign_peer_id": {}, **given})
    except InvalidConnection:
        pass


def _known(ask: Callable[..., Any]) -> Callable[..., Any]:
    def asked(**given: Any) -> None:
        try:
            ask(**given)
        except UnknownFlag as error:
            assert len(str(error)) < LONGEST_ERROR

    return asked


def _no_bytes(decode: Callable[..., Any]) -> Callable[..., Any]:
    """Junk is not unpickled here either."""
    return lambda data=None: None if isinstance(data, (bytes, bytearray, memoryview)) else decode(data)


def _applied(decorator: Callable[..., Any]) -> Callable[..., Any]:
    def apply(it: Any) -> Any:
        return decorator("junk")(it)

    return apply


# function: its parameters; each is given junk, or left out
FUNCTIONS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "connect": (_decorated(hubnet.connect), ["tag", "idempotent", "limit", "allow"]),
    "connect()": (_applied(hubnet.connect), ["it"]),
    "a connection, here": (hubnet.pass_through, ["a", "timeout", "time_out"]),
    "a connection": (lambda **given: NAMES["f"](**{"peer": ID, **given}), ["peer", "timeout", "time_out"]),
    **{
        name: (functools.partial(getattr(hubnet, name), peer=ID), ["peer", "timeout", "time_out"])
        for name in ("info", "connections", "stats", "null", "pass_through")
    },
    "describe": (hubnet.describe, ["a", "role"]),
    "event": (_decorated(hubnet.event), ["name", "durable"]),
    "event()": (_applied(hubnet.event), ["it"]),
    "a trigger": (lambda **given: NAMES["tell"](given.get("pair", ((), given))), ["pair", "a", "b"]),
    "subscribe": (_decorated(hubnet.subscribe), ["event", "groups", "hubs_only", "peers", "on_host", "local"]),
    "subscribe, how": (
        _decorated(functools.partial(hubnet.subscribe, "e")),
        ["since", "on_gap", "queue", "overflow"],
    ),
    "subscribe, filters": (_decorated(functools.partial(hubnet.subscribe, "e")), ["groups", "peers"]),
    "subscribe()": (_applied(hubnet.subscribe), ["it"]),
    "flag": (_decorated(hubnet.flag), ["name"]),
    "flag()": (_applied(hubnet.flag), ["it"]),
    "peers": (hubnet.peers, ["refresh", "groups", "on_host", "hubs_only"]),
    "peers, in order": (lambda **given: hubnet.peers(*given.values()), ["a", "b", "c"]),
    "peer_group": (hubnet.peer_group, ["name", "hubs_only", "on_host"]),
    "wait_for": (lambda **given: hubnet.wait_for(**{"n": 1, **given}), ["n", "groups", "hubs_only", "timeout"]),
    "RemotePeer": (hubnet.RemotePeer, ["peer_id", "record"]),
    "call": (
        lambda **given: NAMES["worker"].call(**{"tag": "t", **given}),
        ["tag", "timeout", "time_out", "peer", "x"],
    ),
    "generate_id": (lambda **given: _Peer.generate_id(**{"port": 1, "host": "h", **given}), ["port", "host", "group"]),
    "decode_id": (_Peer.decode_id, ["peer_id"]),
    "invalid_connection": (_missing, ["connection", "foreign_peer_id"]),
    "serve": (hubnet.serve, ["main_thread"]),
    "configure": (hubnet.configure, list(Settings._fields)),
    "flush": (hubnet.flush, ["timeout"]),
    "null_response": (hubnet.null_response, ["connection", "foreign_peer_id"]),
    "register_connection": (
        lambda **given: NAMES["peer"].register_connection(**{"function": len, **given}),
        ["function", "tag"],
    ),
    "register_flag": (
        lambda **given: NAMES["peer"].register_flag(**{"name": "x", "handler": len, **given}),
        ["name", "handler"],
    ),
    "get_flag": (_known(lambda **given: NAMES["peer"].get_flag(**{"name": "x", **given})), ["name"]),
    "encode": (lambda **given: _Peer.encode(**{"value": 1, **given}), ["value"]),
    "decode": (_no_bytes(_Peer.decode), ["data"]),
}
NO_FUNCTION_TO_CALL = {
    "Peer": "takes whatever comes and returns this process's peer",
    "Listing": "is what peers() returns",
    "Gap": "is what on_gap is given",
}
MEMBERS_FOR_HUBNET_ITSELF = {
    "start", "ready", "stop", "abandon", "open_now", "wait_for_registration", "announce", "add_connection", "record", "call",
    "add_subscription", "answered_here", "declare_event", "publish_event", "flush", "stats",
}  # fmt: skip


def test_every_public_function_is_in_the_table() -> None:
    errors = {name for name in hubnet.__all__ if name.endswith("Error") or name in vars(hubnet.errors)}
    callables = {name for name in hubnet.__all__ if callable(getattr(hubnet, name))} - errors
    assert callables - FUNCTIONS.keys() == NO_FUNCTION_TO_CALL.keys()


def test_every_public_function_of_a_peer_is_in_the_table() -> None:
    functions = {name for name in vars(_Peer) if name[0] != "_" and callable(getattr(_Peer, name))}
    assert functions - FUNCTIONS.keys() == MEMBERS_FOR_HUBNET_ITSELF - FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_junk_is_never_more_than_a_short_error(name: str) -> None:
    function, parameters = FUNCTIONS[name]

    @settings(fuzz, max_examples=EXAMPLES // 3)
    @given(st.dictionaries(st.sampled_from(parameters), JUNK, max_size=3))
    def tried(arguments: dict[str, Any]) -> None:
        try:
            function(**arguments)
        except (TypeError, ValueError, EncodeError) as error:  # ConfigError is a ValueError
            assert 0 < len(str(error)) < LONGEST_ERROR

    tried()


def _told(pair: Any) -> Any:
    return NAMES["tell"](pair)


# call with one argument: what the error calls it, and the kinds that it may be
SINGLE: dict[str, tuple[Callable[[Any], Any], str, tuple[type, ...]]] = {
    "connect, tag": (hubnet.connect, "connect(tag=…)", (str, type(None), type, type(len))),
    "connect, idempotent": (lambda it: hubnet.connect("t", idempotent=it), "connect(idempotent=…)", (bool,)),
    "connect, limit": (lambda it: hubnet.connect("t", limit=it), "connect(limit=…)", (int, type(None))),
    "peer": (lambda it: NAMES["f"](peer=it), "peer=", (str, bytes, tuple, dict, Holder)),
    "timeout": (lambda it: NAMES["f"](peer=ID, timeout=it), "timeout", (int, float, type(None))),
    "time_out": (lambda it: NAMES["f"](peer=ID, time_out=it), "time_out", (int, float, type(None))),
    "timeout, here": (lambda it: NAMES["f"](timeout=it), "timeout", (int, float, type(None))),
    "null_response, connection": (lambda it: hubnet.null_response(it, {}), "connection", (str,)),
    "null_response, foreign_peer_id": (lambda it: hubnet.null_response("t", it), "foreign_peer_id", (dict,)),
    "event": (hubnet.event, "an event's name", (str,)),
    "event()": (hubnet.event("e"), "event('e')", (type, type(len))),
    "a trigger": (_told, "event 'told'", (tuple,)),
    "subscribe": (hubnet.subscribe, "an event's name", (str,)),
    "subscribe, hubs_only": (lambda it: hubnet.subscribe("e", hubs_only=it), "hubs_only", (bool,)),
    "subscribe, on_host": (lambda it: hubnet.subscribe("e", on_host=it), "on_host", (bool, type(None))),
    "subscribe, local": (lambda it: hubnet.subscribe("e", local=it), "local", (bool,)),
    "flag": (hubnet.flag, "a flag's name", (str,)),
    "peers, refresh": (lambda it: hubnet.peers(refresh=it), "refresh", (bool,)),
    "peers, on_host": (lambda it: hubnet.peers(on_host=it), "on_host", (bool,)),
    "peers, hubs_only": (lambda it: hubnet.peers(hubs_only=it), "hubs_only", (bool,)),
    "peer_group, on_host": (lambda it: hubnet.peer_group(on_host=it), "on_host", (bool,)),
    "wait_for, n": (hubnet.wait_for, "wait_for(n)", (int,)),
    "wait_for, timeout": (lambda it: hubnet.wait_for(1, timeout=it), "timeout", (int, float)),
    "call, tag": (NAMES["worker"].call, "call(tag, …)", (str,)),
    "generate_id, port": (lambda it: _Peer.generate_id(it, "h"), "port", (int,)),
    "generate_id, host": (lambda it: _Peer.generate_id(1, it), "host", (str,)),
    "generate_id, group": (lambda it: _Peer.generate_id(1, "h", it), "group", (str, type(None))),
    "decode_id": (_Peer.decode_id, "a peer id", (bytes, str)),
    "serve": (hubnet.serve, "main_thread", (bool,)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_value_of_a_wrong_kind_is_told_by_its_parameter_and_its_kind(name: str) -> None:
    call, parameter, allowed = SINGLE[name]

    @settings(fuzz, max_examples=EXAMPLES // 6)
    @given(JUNK.filter(lambda value: not isinstance(value, allowed) or (type(value) is bool and bool not in allowed)))
    def refused(value: Any) -> None:
        with pytest.raises(TypeError) as caught:
            call(value)
        assert parameter in str(caught.value)
        assert type(value).__name__ in str(caught.value)
        assert len(str(caught.value)) < LONGEST_ERROR

    refused()

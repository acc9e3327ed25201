"""Calls as a user makes them."""

from __future__ import annotations

import pytest

from tests.waiting import free_port

from .conftest import Actor, Net, Raised

APP = """
    import hubnet, threading, time

    class Trouble(Exception):
        def __init__(self, shot, frame):
            super().__init__(f"{shot} {frame}")
            self.shot, self.frame = shot, frame

    @hubnet.connect()
    def render(shot, frame=1, *more, quality="high", **rest):
        return shot, frame, more, quality, rest

    @hubnet.connect("tagged")
    def named(value):
        return "new", value

    @hubnet.connect
    def bare(value):
        return value

    @hubnet.connect()
    def fail(kind):
        if kind == "trouble":
            raise Trouble("s010", 12)
        if kind == "chain":
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise LookupError("no such shot") from error
        raise SystemExit(kind)

    @hubnet.connect()
    def sleep(seconds):
        time.sleep(seconds)
        return seconds

    @hubnet.connect()
    def unsendable():
        return threading.Lock()

    @hubnet.connect()
    def whoami():
        return hubnet.Peer().id

    @hubnet.connect(limit=1)
    def narrow():
        time.sleep(0.2)

    @hubnet.connect()
    def relay(target):
        return whoami(peer=target)
"""


@pytest.fixture(scope="module")
def parts(shared: Net) -> tuple[Actor, Actor]:
    """A worker that serves app.py, and a caller that imported it as well; a hub besides."""
    shared.module("app", APP)
    shared.hub()
    worker = shared.worker("from app import *\nimport app", HUBNET_GROUP="render")
    caller = shared.actor("from app import *\nimport app\nworker = hubnet.wait_for(1, 'render')[0]")
    return worker, caller


@pytest.fixture
def caller(parts: tuple[Actor, Actor]) -> Actor:
    return parts[1]


@pytest.fixture
def worker(parts: tuple[Actor, Actor]) -> Actor:
    return parts[0]


def test_a_connection_runs_here_without_a_target_and_there_with_one(caller: Actor, worker: Actor) -> None:
    assert caller.ask("whoami()") == caller.ask("hubnet.Peer().id")
    assert caller.ask("whoami(peer=worker)") == worker.ask("hubnet.Peer().id")


def test_arguments_of_every_kind_arrive(caller: Actor) -> None:
    assert caller.ask("render('s', peer=worker)") == ("s", 1, (), "high", {})
    assert caller.ask("render('s', 2, 3, 4, quality='low', other=5, peer=worker)") == (
        "s",
        2,
        (3, 4),
        "low",
        {"other": 5},
    )
    assert caller.ask("render(shot='s', frame=2, peer=worker)") == ("s", 2, (), "high", {})


def test_a_local_call_is_the_function_itself(caller: Actor) -> None:
    assert caller.ask("render('s', other=1)") == ("s", 1, (), "high", {"other": 1})
    assert caller.ask("render.__name__, render.__module__, render.__wrapped__('s')[0]") == ("render", "app", "s")
    assert caller.ask("bare(value=threading) is threading") is True
    with pytest.raises(Raised, match="takes 1 positional argument") as caught:
        caller.ask("bare(1, 2)")
    assert caught.value.kind == "TypeError"


def test_the_decorator_works_bare_and_with_a_tag(caller: Actor) -> None:
    assert caller.ask("bare(7, peer=worker)") == 7
    assert caller.ask("named(7, peer=worker)") == ("new", 7)


@pytest.mark.processes
def test_who_is_called_may_call_back_before_the_register_knows_its_caller(
    shared: Net, parts: tuple[Actor, Actor]
) -> None:
    """Its link has proved the id, which names the address; here the caller is never listed at all."""
    unlisted = shared.actor(
        """
        import hubnet.peer
        hubnet.peer.only_ask()
        from app import relay, whoami
        worker = hubnet.wait_for(1, "render")[0]
        """
    )
    assert unlisted.ask("relay(hubnet.Peer().id, peer=worker) == hubnet.Peer().id")
    unlisted.close()


def test_versions_whose_functions_were_renamed_meet_under_one_tag(shared: Net, parts: tuple[Actor, Actor]) -> None:
    old = shared.actor(
        """
        @hubnet.connect("tagged")
        def once_called_otherwise(value): return "old", value
        worker = hubnet.wait_for(1, "render")[0]
        """
    )
    assert old.ask("once_called_otherwise(1, peer=worker)") == ("new", 1)
    assert old.ask("once_called_otherwise(1)") == ("old", 1)
    old.close()


def test_functions_of_main_meet_by_the_file_they_are_in(shared: Net, parts: tuple[Actor, Actor]) -> None:
    code = "@hubnet.connect()\ndef here(): return hubnet.Peer().id"
    shared.module("actor", "import hubnet\n" + code)
    main = shared.worker(code, HUBNET_GROUP="main")
    other = shared.worker(code, HUBNET_GROUP="main2")
    own = main.ask("hubnet.Peer().id")
    importer = shared.actor(f"import sys; sys.path[0:0] = [{str(shared.folder)!r}]; del sys.path[1:2]")
    importer.run("sys.modules.pop('actor', None)")  # in memory all of them are one program, which has this name
    importer.run(f"import importlib; imported = importlib.import_module('actor'); target = {own!r}")
    assert importer.ask("imported.here(peer=target)") == own
    assert other.ask(f"here(peer={own!r})") == own
    for one in (main, other, importer):
        one.close()
    (shared.folder / "actor.py").unlink()


def test_objects_of_main_travel_by_value(caller: Actor) -> None:
    caller.run("class Shot:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == o.n")
    assert caller.ask("bare(Shot(3), peer=worker) == Shot(3)") is True
    assert caller.ask("bare(lambda x: x + 1, peer=worker)(1)") == 2


def test_a_timeout_is_a_timeout_error_by_either_spelling(caller: Actor) -> None:
    for spelling in ("timeout", "time_out"):
        with pytest.raises(Raised, match="did not answer before its deadline") as caught:
            caller.ask(f"sleep(3, peer=worker, {spelling}=0.2)")
        assert {"CallTimeout", "TimeoutError", "CallError", "HubnetError"} <= set(caught.value.kinds)
        assert caught.value.ran == "MAYBE"
    assert caller.ask("sleep(0.1, peer=worker, timeout=5)") == 0.1
    assert caller.ask("sleep(0, timeout=5)") == 0


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ("'5'", "TypeError"),
        ("True", "TypeError"),
        ("0", "ValueError"),
        ("-1", "ValueError"),
        ("float('nan')", "ValueError"),
    ],
)
def test_a_timeout_of_the_wrong_kind_is_told(caller: Actor, wish: str, kind: str) -> None:
    with pytest.raises(Raised, match="timeout") as caught:
        caller.ask(f"bare(1, peer=worker, timeout={wish})")
    assert caught.value.kind == kind


def test_what_was_raised_there_is_the_cause_here(caller: Actor) -> None:
    caller.run(
        """
        try:
            fail("trouble", peer=worker)
        except hubnet.RemoteError as error:
            caught = error
        """
    )
    assert caller.ask("caught.type_name, caught.ran") == ("app.Trouble", "YES")
    assert caller.ask("caught.__cause__ is None")  # its constructor does not take what pickle gives it
    assert "in fail" in caller.ask("caught.traceback_text")
    assert "app.Trouble: s010 12" in caller.ask("str(caught)")
    with pytest.raises(Raised, match="ZeroDivisionError") as caught:
        caller.ask("fail('chain', peer=worker)")
    assert caught.value.cause == "LookupError"


def test_a_function_that_exits_ends_its_call_and_not_its_peer(caller: Actor) -> None:
    with pytest.raises(Raised, match="SystemExit") as caught:
        caller.ask("fail('quit', peer=worker)")
    assert caught.value.kind == "RemoteError"
    assert caller.ask("bare(1, peer=worker)") == 1


def test_an_argument_that_cannot_travel_is_named(caller: Actor) -> None:
    for call, name in (
        ("bare(threading.Lock(), peer=worker)", "argument 0"),
        ("render(1, deep=[threading.Lock()], peer=worker)", "argument 'deep'"),
    ):
        with pytest.raises(Raised, match=name) as caught:
            caller.ask(call)
        assert (caught.value.kind, caught.value.ran) == ("EncodeError", "NO")


def test_a_result_that_cannot_travel_is_told(caller: Actor) -> None:
    with pytest.raises(Raised, match=r"result of .* cannot travel"):
        caller.ask("unsendable(peer=worker)")


def test_a_connection_that_is_not_there_lists_what_there_is(caller: Actor, worker: Actor) -> None:
    caller.run("@hubnet.connect('only here')\ndef only(): pass")
    with pytest.raises(Raised, match="Peer does not have the connection you are requesting") as caught:
        caller.ask("only(peer=worker)")
    assert caught.value.kind == "InvalidConnection"
    assert caught.value.ran == "NO"
    for text in ("'only here'", "app.render", "tagged", f"{worker.ask('hubnet.Peer().port')}"):
        assert text in caught.value.text


def test_targets_of_every_kind_are_taken(caller: Actor, worker: Actor) -> None:
    me = worker.ask("hubnet.Peer().id")
    caller.run(f"me = {me!r}; listing = hubnet.peers('render')")
    for target in (
        "me",
        "me.decode()",
        "(worker.host, worker.port)",
        "listing['peers'][me]",
        "worker",
        "listing[0]",
        "listing['render'][0]",
    ):
        assert caller.ask(f"whoami(peer={target})") == me, target


@pytest.mark.parametrize("target", ["None", "5", "[1, 2]", "('host',)", "('host', '1')", "{}", "object()"])
def test_a_target_of_the_wrong_kind_lists_what_is_allowed(caller: Actor, target: str) -> None:
    with pytest.raises(Raised, match=r"a peer id \(bytes or str\), \(host, port\), a record .*RemotePeer") as caught:
        caller.ask(f"bare(1, peer={target})")
    assert caught.value.kind == "TypeError"


@pytest.mark.parametrize(
    "target", ["'render'", "b'nonsense'", "''", "'ü'", "('localhost', 70000)", "('localhost', -1)"]
)
def test_a_target_that_names_no_peer_is_a_value_error(caller: Actor, target: str) -> None:
    with pytest.raises(Raised) as caught:
        caller.ask(f"bare(1, peer={target})")
    assert "ValueError" in caught.value.kinds, caught.value.kinds


def test_an_address_where_nobody_listens_is_unreachable(caller: Actor) -> None:
    with pytest.raises(Raised, match=r"127\.0\.0\.1:1") as caught:
        caller.ask("bare(1, peer=('127.0.0.1', 1))")
    assert {"PeerUnreachable", "ConnectionRefusedError"} <= set(caught.value.kinds)
    with pytest.raises(Raised, match="not in the register") as caught:
        caller.ask("bare(1, peer=hubnet.Peer().generate_id(1, '127.0.0.1', 'render'))")
    assert caught.value.ran == "NO"


@pytest.mark.parametrize("function", ["bare", "hubnet.pass_through"])
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_what_an_unreachable_address_raises_is_the_public_error_and_says_what_was_called(
    caller: Actor, function: str, host: str
) -> None:
    port = free_port()
    caller.run(
        f"""
        try:
            {function}(1, peer=({host!r}, {port}))
        except hubnet.PeerUnreachable as error:
            caught = error
        """
    )
    assert caller.ask("type(caught) is hubnet.PeerUnreachable")
    assert caller.ask("caught.connection, caught.peer, caught.ran") == (
        caller.ask(f"{function}.connection.tag"), f"{host}:{port}", "NO",
    )  # fmt: skip
    assert caller.ask("type(__import__('pickle').loads(__import__('pickle').dumps(caught))) is hubnet.PeerUnreachable")


def test_a_peer_may_name_itself(caller: Actor) -> None:
    me = caller.ask("hubnet.Peer().id")
    assert caller.ask("whoami(peer=hubnet.Peer().id)") == me
    assert caller.ask("whoami(peer=(hubnet.Peer().host, hubnet.Peer().port))") == me


@pytest.mark.processes
@pytest.mark.parametrize("host", ["localhost", "127.1"])
def test_a_peer_may_name_itself_by_another_name_of_its_address(parts: tuple[Actor, Actor], host: str) -> None:
    for one in parts:
        one.run(f"itself = ({host!r}, hubnet.Peer().port)")
        assert one.ask("bare(threading, peer=itself) is threading")  # it ran here: modules do not travel
        assert one.ask("whoami(peer=itself, timeout=20)") == one.ask("hubnet.Peer().id")


def test_a_peer_may_call_itself_by_tag(caller: Actor, worker: Actor) -> None:
    me = worker.ask("hubnet.Peer().id")
    record = caller.ask("hubnet.peers('render')['peers']")[me]
    worker.run(f"itself = hubnet.RemotePeer({me!r}, {record!r})")
    assert worker.ask("itself.call('tagged', threading) == ('new', threading)")
    assert worker.ask("itself.tagged(5), itself.whoami(), itself.call('tagged', 5, timeout=20)") == (
        ("new", 5), me, ("new", 5),
    )  # fmt: skip
    assert worker.ask("hubnet.pass_through(7, peer=itself)") == 7


def test_a_peer_that_calls_a_tag_of_its_own_that_is_not_there_is_told_as_anybody_is(
    caller: Actor, worker: Actor
) -> None:
    me = worker.ask("hubnet.Peer().id")
    record = caller.ask("hubnet.peers('render')['peers']")[me]
    for one in (caller, worker):
        one.run(f"worker_itself = hubnet.RemotePeer({me!r}, {record!r})")
        with pytest.raises(Raised, match="'absent'") as caught:
            one.ask("worker_itself.call('absent')")
        assert caught.value.kind == "InvalidConnection"


def test_calls_inside_calls(caller: Actor) -> None:
    assert caller.ask("relay(hubnet.Peer().id, peer=worker)") == caller.ask("hubnet.Peer().id")


@pytest.mark.processes
def test_a_limit_holds(caller: Actor) -> None:
    caller.run(
        """
        begin = time.monotonic()
        threads = [threading.Thread(target=narrow, kwargs={"peer": worker}) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    assert caller.ask("time.monotonic() - begin") >= 0.8


def test_large_arrays_come_back_as_they_were(caller: Actor) -> None:
    caller.run("import numpy\narray = numpy.arange(2_000_000.0).reshape(2, -1)")
    assert caller.ask("bool((bare(array, peer=worker) == array).all())")
    assert caller.ask("bare(bytes(10_000_000), peer=worker) == bytes(10_000_000)")


def test_every_peer_has_the_built_in_connections(caller: Actor, worker: Actor) -> None:
    assert caller.ask("hubnet.pass_through('text', peer=worker)") == "text"
    assert caller.ask("hubnet.pass_through(1, 2, a=3, peer=worker)") == ((1, 2), {"a": 3})
    assert caller.ask("hubnet.pass_through(peer=worker)") == ((), {})
    info = caller.ask("hubnet.info('ignored', peer=worker)")
    assert {**worker.ask("hubnet.Peer().friendly_id"), "labels": {}} == info
    assert set(info) == {"group", "host", "port", "hub", "executable", "user", "labels"}
    served = caller.ask("hubnet.connections(peer=worker)")
    assert served["tagged"] == {"module": "app", "name": "named", "signature": "(value)", "doc": ""}
    stats = caller.ask("hubnet.stats(peer=worker)")
    assert stats["state"] == "open"
    assert {"calls.ok", "calls.running", "links.incoming", "events.outbox"} <= set(stats)


def test_a_remote_peer_has_its_fields_and_its_connections(caller: Actor, worker: Actor) -> None:
    assert caller.ask("worker.group, worker.pid, worker.state") == ("render", worker.pid, "open")
    assert caller.ask("worker.bare(3), worker.render('s', quality='low'), worker.call('tagged', 4)") == (
        3, ("s", 1, (), "low", {}), ("new", 4),
    )  # fmt: skip
    assert caller.ask("worker.tagged(5)") == ("new", 5)
    with pytest.raises(Raised, match=r"no field and no connection of that name: 'nothing'.*app\.render") as caught:
        caller.ask("worker.nothing")
    assert caught.value.kind == "AttributeError"
    assert caller.ask("worker == hubnet.peers('render')[0] and len({worker, hubnet.peers('render')[0]}) == 1")
    assert caller.ask("hubnet.pass_through(worker, peer=worker) == worker")
    assert "render" in caller.ask("repr(worker)")


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("@hubnet.connect()\ndef f(peer): pass", "ConfigError", "'peer', which hubnet takes for itself"),
        ("@hubnet.connect()\ndef f(a, *, timeout=1): pass", "ConfigError", "'timeout'"),
        ("hubnet.connect(5)", "TypeError", "connect\\(tag=…\\) takes a str"),
        ("hubnet.connect('')", "ConfigError", "empty tag"),
        ("hubnet.connect('x', limit=0)", "ConfigError", "limit"),
        ("hubnet.connect('x')(5)", "TypeError", "takes a function, not int"),
        ("class C:\n    @hubnet.connect()\n    def f(self): pass", "TypeError", "cannot serve the method C.f"),
    ],
)
def test_a_connection_that_cannot_be_is_refused_when_decorated(caller: Actor, code: str, kind: str, text: str) -> None:
    with pytest.raises(Raised, match=text) as caught:
        caller.run(code)
    assert caught.value.kind == kind


def test_registering_a_tag_twice_warns_and_the_later_wins(shared: Net, parts: tuple[Actor, Actor]) -> None:
    one = shared.worker(
        "for n in (1, 2):\n    @hubnet.connect('twice')\n    def f(n=n): return n", HUBNET_GROUP="twice"
    )  # fmt: skip
    assert "registered twice" in one.said
    assert parts[1].ask("hubnet.wait_for(1, 'twice')[0].twice()") == 2
    one.close()

"""All that ``connect`` promises beyond the reference's sentences: tags, local behaviour, async functions, deadlines, limits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import hubnet
from hubnet.errors import MAYBE
from hubnet.testing import LocalNet
from tests.conftest import Net as Programs
from tests.waiting import eventually

from .conftest import SIGTERM, Actor, Net, Raised
from .witness import id_of, path_tag, stopped

APP = """
    import asyncio, copy, functools, inspect, math, pickle, threading, time

    @hubnet.connect()
    def put(value, into=None, *, key="k"):
        "Put a value somewhere."
        into = {} if into is None else into
        into[key] = value
        return into

    @hubnet.connect()
    def given(*args, **kwargs):
        return args, kwargs

    @hubnet.connect("who")
    def who():
        return hubnet.Peer().id

    @hubnet.connect("fail")
    def fail():
        raise KeyError("mine")

    @hubnet.connect("count")
    def count(n):
        seen.append("begun")
        for i in range(n):
            yield i

    seen = []

    @hubnet.connect("a later answer")
    async def later(value):
        "Answer a little later."
        await asyncio.sleep(0)
        return hubnet.Peer().id, value

    @hubnet.connect("fail later")
    async def fail_later(how="trouble"):
        await asyncio.sleep(0)
        if how == "exit":
            raise SystemExit(3)
        if how == "cancelled":
            raise asyncio.CancelledError
        raise KeyError("later")

    arrived = []

    @hubnet.connect("meet")
    async def meet(n):
        arrived.append(threading.get_ident())
        while len(arrived) < n:
            await asyncio.sleep(0.005)
        return len(set(arrived))

    @hubnet.connect("wait for the gate")
    async def wait_for_the_gate():
        while not gate.is_set():
            await asyncio.sleep(0.005)
        return "through"

    gate, entered = threading.Event(), []

    @hubnet.connect("open the gate")
    def open_the_gate():
        gate.set()

    @hubnet.connect("later, further away")
    async def later_further_away(value, target):
        return later(value, peer=target)

    @hubnet.connect("hold")
    def hold():
        gate.wait(30)
        return "held"

    @hubnet.connect("pass on")
    def pass_on(target):
        try:
            return hold(peer=target)
        except hubnet.HubnetError as error:
            told.append(type(error).__name__)
            raise

    told = []

    guard, pair, inside, most = threading.Lock(), threading.Barrier(2), 0, 0

    @hubnet.connect("narrow", limit=2)
    def narrow(n):
        global inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        pair.wait(30)
        with guard:
            inside -= 1
        return n

    @hubnet.connect("one at a time", limit=1)
    def one_at_a_time(n):
        entered.append(n)
        gate.wait(30)
        return n

    @hubnet.connect("fails", limit=1)
    def fails(how):
        if how == "raise":
            raise KeyError(how)
        return guard if how == "a result that cannot travel" else how

    @hubnet.connect("takes its time", limit=1)
    async def takes_its_time(n):
        global inside, most
        inside += 1
        most = max(most, inside)
        await __import__("asyncio").sleep(0.01)
        inside -= 1
        return n
"""


@pytest.fixture(scope="module")
def worker(shared: Net) -> Actor:
    shared.hub()
    return shared.worker(APP, HUBNET_GROUP="w")


@pytest.fixture(scope="module")
def caller(shared: Net, worker: Actor) -> Actor:
    return shared.worker(APP + "\n    w = hubnet.wait_for(1, 'w')[0]")


@pytest.fixture(scope="module")
def crowd(shared: Net, worker: Actor) -> list[Actor]:
    """Three more who call the worker."""
    return [shared.actor(APP + "\n    w = hubnet.wait_for(1, 'w')[0]") for _ in range(3)]


@pytest.fixture(scope="module")
def programs(shared: Net, worker: Actor) -> Iterator[Programs]:
    """Programs on the same net."""
    made = Programs(shared.folder)
    if shared.guarded:
        made.env["HUBNET_REDIS_URL"] = shared.guarded.url("worker")
    yield made
    made.close()


def refused(actor: Actor, call: str) -> Raised:
    """What an expression raises."""
    with pytest.raises(Raised) as caught:
        actor.ask(call)
    return caught.value


# -- tags --------------------------------------------------------------------------------------------------------------

TAGS = ["NULL", "rendre une image: été 北", " ", "->", "a/b.c:d*", "hubnet.info", path_tag("no.such"), "x" * 4096]


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: ascii(tag)[:30])
def test_a_tag_may_be_any_text_and_is_listed_as_it_is(caller: Actor, worker: Actor, tag: str) -> None:
    worker.run(f"hubnet.connect({tag!r})(lambda value: ('there', value))")
    caller.run(f"tagged = hubnet.connect({tag!r})(lambda value: ('here', value))")
    assert caller.ask("tagged(1, peer=w), tagged(1)") == (("there", 1), ("here", 1))
    assert caller.ask(f"w.call({tag!r}, 2)") == ("there", 2)
    assert tag in caller.ask("hubnet.connections(peer=w)")


def test_three_versions_of_a_renamed_function_meet_by_its_tag_in_every_direction(shared: Net, worker: Actor) -> None:
    names = ["render", "render_frame", "frame"]
    actors = [
        shared.worker(
            f"@hubnet.connect('the renderer')\ndef {name}(shot): return {name!r}, shot", HUBNET_GROUP="versions"
        )
        for name in names
    ]
    ids = [id_of(actor) for actor in actors]
    for caller, calls in zip(actors, names, strict=True):
        for there, runs in zip(ids, names, strict=True):
            assert caller.ask(f"{calls}('s010', peer={there!r})") == (runs, "s010")
    for actor in actors:
        actor.close()


def test_a_renamed_function_is_met_by_who_never_gave_a_tag_if_its_old_path_is_its_tag(
    caller: Actor, worker: Actor
) -> None:
    caller.run("@hubnet.connect()\ndef old_name(): return 'old'")
    old = caller.ask("old_name.connection.tag")
    worker.run(f"@hubnet.connect({old!r})\ndef new_name(): return 'new'")
    assert caller.ask("old_name(peer=w)") == "new"
    assert worker.ask(f"new_name(peer={id_of(caller)!r})") == "old"


def test_functions_of_one_name_in_two_modules_do_not_meet(shared: Net, caller: Actor, worker: Actor) -> None:
    for module in ("studio_a", "studio_b"):
        shared.module(module, f"import hubnet\n@hubnet.connect()\ndef render(): return {module!r}")
    worker.run("from studio_a import render as a")
    caller.run("from studio_a import render as a; from studio_b import render as b")
    assert caller.ask("a(peer=w)") == "studio_a"
    assert refused(caller, "b(peer=w)").kind == "InvalidConnection"


SCRIPT = """
import sys, hubnet

@hubnet.connect()
def where():
    return __name__, hubnet.Peer().group

if __name__ == "__main__":
    if len(sys.argv) == 1:
        hubnet.serve()
    else:
        print("it said", *where(peer=hubnet.wait_for(1, sys.argv[1])[0]), flush=True)
"""
RUN_AS = {
    "script": ["script.py"],
    "package.inner": ["-m", "package.inner"],
    "package.__main__": ["-m", "package"],
}


@pytest.mark.processes
@pytest.mark.parametrize("module", RUN_AS)
def test_a_function_of_a_program_is_met_by_its_module_name_in_both_directions(programs: Programs, module: str) -> None:
    (programs.folder / "package").mkdir(exist_ok=True)
    for name in ("script.py", "package/__init__.py", "package/inner.py", "package/__main__.py"):
        (programs.folder / name).write_text("" if "__init__" in name else SCRIPT)
    imported = f"import hubnet, {module} as it; "
    programs.run("python", *RUN_AS[module], HUBNET_GROUP=f"{module}, run")
    programs.run("python", "-c", imported + "hubnet.serve()", HUBNET_GROUP=f"{module}, imported")
    programs.run("python", *RUN_AS[module], f"{module}, imported").wait_for(f"it said {module} {module}, imported")
    programs.run("python", "-c", imported + f"print(*it.where(peer=hubnet.wait_for(1, '{module}, run')[0]))").wait_for(
        f"__main__ {module}, run"
    )


@pytest.mark.processes
def test_functions_of_two_programs_without_a_file_meet(programs: Programs) -> None:
    programs.run("python", "-c", SCRIPT, HUBNET_GROUP="nameless")
    programs.run("python", "-c", SCRIPT, "nameless").wait_for("it said __main__ nameless")


# -- what stays as it was ----------------------------------------------------------------------------------------------


def test_a_local_call_gets_and_gives_the_very_objects_and_a_remote_one_copies(caller: Actor) -> None:
    caller.run("value, into = object, {}")
    assert caller.ask("put(value, into) is into and into['k'] is value")
    caller.run("into = {}")
    assert caller.ask("put(1, into, peer=w) == {'k': 1} and into == {}")


def test_what_is_raised_here_is_the_functions_own_exception(caller: Actor) -> None:
    error = refused(caller, "fail()")
    assert (error.kind, error.text, error.ran, error.cause) == ("KeyError", "'mine'", None, None)
    assert "callable_connection" not in error.trace.rpartition("File")[2]
    assert refused(caller, "fail(peer=w)").kind == "RemoteError"


def test_a_generator_function_is_as_lazy_here_as_before(caller: Actor) -> None:
    caller.run("del seen[:]; made = count(3)")
    assert caller.ask("seen") == []
    assert caller.ask("next(made), seen, list(made)") == (0, ["begun"], [1, 2])


def test_peer_and_both_spellings_of_timeout_are_taken_off_before_a_function_with_kwargs_sees_them(
    caller: Actor,
) -> None:
    for taken in ("peer=w", "timeout=20", "time_out=20", "peer=w, timeout=20", "peer=w, time_out=20", "timeout=None"):
        assert caller.ask(f"given(1, other=2, {taken})") == ((1,), {"other": 2}), taken
    assert refused(caller, "put(1, timeoout=3)").kind == "TypeError"
    assert refused(caller, "put(1, timeoout=3, peer=w)").cause == "TypeError"


def test_a_connected_function_works_wherever_functions_do(caller: Actor) -> None:
    assert caller.ask("list(map(put, [1, 2])), functools.partial(put, 3)(key='x')") == ([{"k": 1}, {"k": 2}], {"x": 3})
    assert caller.ask("functools.partial(put, 3, peer=w)(key='x')") == {"x": 3}
    assert caller.ask("put in {put}, put == put, bool(put), callable(put), put.__get__(7)()") == (
        True, True, True, True, {"k": 7},
    )  # fmt: skip
    assert caller.ask("inspect.signature(put).bind(1, key=2).arguments") == {"value": 1, "key": 2}
    assert caller.ask("'Put a value somewhere.' in __import__('pydoc').render_doc(put)")
    assert caller.ask("put.__wrapped__(5), put.__wrapped__.__defaults__, put.__wrapped__.__kwdefaults__") == (
        {"k": 5}, (None,), {"key": "k"},
    )  # fmt: skip


def test_a_connected_function_of_a_module_is_pickled_by_its_name(shared: Net, caller: Actor, worker: Actor) -> None:
    shared.module("pickled", "import hubnet\n@hubnet.connect('pickled')\ndef f(): return hubnet.Peer().id")
    for one in (caller, worker):
        one.run("import pickled")
    assert caller.ask("pickle.loads(pickle.dumps(pickled.f)) is pickled.f")
    assert caller.ask("len(pickle.dumps(pickled.f)) < 100")
    assert caller.ask("copy.copy(pickled.f) is copy.deepcopy(pickled.f) is pickled.f")
    assert caller.ask("hubnet.pass_through([pickled.f], peer=w)[0] is pickled.f")


def test_a_connected_function_of_main_can_be_sent_and_is_still_connected(caller: Actor, worker: Actor) -> None:
    worker.run("hubnet.connect('sent')(lambda value: ('served', value))")
    worker.run("hubnet.connect('use')(lambda function, target: (function(1), function(2, peer=target)))")
    caller.run(
        """
        @hubnet.connect('sent')
        def sent(value):
            "Say who and what."
            return "sent", value
        use = hubnet.connect('use')(lambda function, target: None)
        """
    )
    assert caller.ask("use(sent, w.id, peer=w)") == (("sent", 1), ("served", 2))
    caller.run("back = hubnet.pass_through(sent, peer=w)")
    assert caller.ask("back(3), back(4, peer=w)") == (("sent", 3), ("served", 4))
    assert caller.ask("back.__name__, back.__doc__, str(inspect.signature(back))") == (
        "sent", "Say who and what.", "(value)",
    )  # fmt: skip


def test_built_in_functions_lambdas_and_partials_are_functions_too(caller: Actor, worker: Actor) -> None:
    worker.run("hubnet.connect()(math.sqrt); hubnet.connect('cut')(functools.partial(given.__wrapped__, 1, key=2))")
    caller.run(
        "root = hubnet.connect()(math.sqrt); cut = hubnet.connect('cut')(functools.partial(given.__wrapped__, 0))"
    )
    assert caller.ask("root.connection.tag") == path_tag("math.sqrt")
    assert caller.ask("root(9.0, peer=w), root(9.0)") == (3.0, 3.0)
    assert caller.ask("cut(5, peer=w), cut(5)") == (((1, 5), {"key": 2}), ((0, 5), {}))


def test_the_state_of_a_function_is_the_peers_that_runs_it(caller: Actor, worker: Actor) -> None:
    code = "@hubnet.connect('grow')\ndef grow(item, grown=[]):\n    grown.append(item)\n    return list(grown)"
    for one in (caller, worker):
        one.run(code)
    assert caller.ask("grow(1, peer=w), grow(2), grow(3, peer=w)") == ([1], [2], [1, 3])


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["peer", "timeout", "time_out"])
@pytest.mark.parametrize("parameters", ["{}", "a, {}=1", "{}, /", "*, {}", "*a, {}=None, **b"])
def test_a_parameter_that_hubnet_takes_for_itself_is_refused_whatever_its_kind(
    caller: Actor, name: str, parameters: str
) -> None:
    error = refused(caller, f"hubnet.connect('refused')(lambda {parameters.format(name)}: 1)")
    assert error.kind == "ConfigError"
    assert f"parameter {name!r}" in error.text
    assert caller.ask("'refused' in hubnet.connections()") is False


def test_names_that_only_look_like_hubnets_own_are_free(caller: Actor, worker: Actor) -> None:
    for one in (caller, worker):
        one.run("@hubnet.connect('free')\ndef free(peers, *peer, timeouts=1, **timeout): return peers, peer, timeout")
    assert caller.ask("free(1, 2, x=3, peer=w, timeout=20), free(1, 2, x=3)") == ((1, (2,), {"x": 3}),) * 2


@pytest.mark.parametrize(
    "inner", ["def inner(a, peer=None): return peer", "def inner(a, *, timeout=1): return timeout"]
)
@pytest.mark.parametrize("around", ["decorated(inner)", "functools.partial(inner)"])
def test_a_parameter_that_hubnet_takes_for_itself_is_refused_under_a_decorator_and_in_a_partial(
    caller: Actor, inner: str, around: str
) -> None:
    caller.run(
        f"""
        def decorated(function):
            @functools.wraps(function)
            def call(*args, **kwargs): return function(*args, **kwargs)
            return call
        {inner}
        accepted = True
        try:
            hubnet.connect('hidden')({around})
        except hubnet.ConfigError as error:
            accepted = False
        """
    )
    assert caller.ask("accepted") is False


def test_a_function_made_inside_another_is_no_method_whatever_its_first_parameter_is_called(caller: Actor) -> None:
    caller.run("def make():\n    @hubnet.connect('made')\n    def made(self): return self\n    return made")
    assert caller.ask("make()(5)") == 5


def test_a_method_of_a_class_made_inside_a_function_is_refused(caller: Actor) -> None:
    caller.run("def make():\n    class Farm:\n        @hubnet.connect('made')\n        def render(self): pass")
    error = refused(caller, "make()")
    assert error.kind == "TypeError"
    assert "Farm.render" in error.text
    assert "a peer has no instance for it" in error.text


# -- async functions ---------------------------------------------------------------------------------------------------


def test_an_async_function_is_a_coroutine_function_here_and_an_answer_from_there(caller: Actor) -> None:
    here, there = caller.ask("hubnet.Peer().id"), caller.ask("w.id")
    assert caller.ask("inspect.iscoroutine(made := later(1)) and asyncio.run(made)") == (here, 1)
    assert caller.ask("later(2, peer=w), later(3, peer=w, timeout=20)") == ((there, 2), (there, 3))
    assert caller.ask("later(4, peer=hubnet.Peer().id)") == (here, 4)
    caller.run("async def together(): return await asyncio.gather(*map(later, range(50)))")
    assert caller.ask("asyncio.run(together())") == [(here, n) for n in range(50)]
    assert caller.ask("later.__doc__, str(inspect.signature(later))") == ("Answer a little later.", "(value)")


def test_a_framework_that_asks_is_told_which_functions_are_async(caller: Actor) -> None:
    caller.run(
        """
        started = hubnet.connect("started")(functools.partial(later.__wrapped__, 1))
        again = hubnet.connect("again")(functools.wraps(later)(lambda value: later(value)))
        told = [later, started, again, put, given, count, hubnet.info]
        """
    )
    expected = [True] * 3 + [False] * 4
    assert caller.ask("[asyncio.iscoroutinefunction(one) for one in told]") == expected
    if sys.version_info >= (3, 12):  # before, inspect knows no mark
        assert caller.ask("[inspect.iscoroutinefunction(one) for one in told]") == expected
    assert caller.ask("[asyncio.run(one)[1] for one in (later(1), started(), again(2))]") == [1, 1, 2]
    assert caller.ask("later(3, peer=w)[1]") == 3


def test_many_async_calls_run_at_once_on_one_peer(crowd: list[Actor], worker: Actor) -> None:
    """None would return if they ran one after the other."""
    worker.run("del arrived[:]")
    for one in crowd:
        one.send("ask", "meet(3, peer=w)")
    assert [one.answer() for one in crowd] == [3] * 3


@pytest.mark.processes
def test_many_async_calls_of_one_process_run_at_once(caller: Actor, worker: Actor) -> None:
    worker.run("del arrived[:]")
    caller.run(
        "async def all_of(n): return await asyncio.gather(*(asyncio.to_thread(meet, n, peer=w) for _ in range(n)))"
    )
    caller.run("from concurrent.futures import ThreadPoolExecutor")
    assert caller.ask("list(ThreadPoolExecutor(16).map(lambda _: meet(16, peer=w), range(16)))") == [16] * 16
    worker.run("del arrived[:]")
    assert caller.ask("asyncio.run(all_of(4))") == [4] * 4


@pytest.mark.parametrize(
    ("how", "cause"), [("trouble", "KeyError"), ("exit", "SystemExit"), ("cancelled", "CancelledError")]
)
def test_what_an_async_function_raises_ends_its_call_and_not_its_peer(caller: Actor, how: str, cause: str) -> None:
    for target in ("w", "hubnet.peers('w')[0].id.decode()"):
        error = refused(caller, f"fail_later({how!r}, peer={target})")
        assert (error.kind, error.cause, error.ran) == ("RemoteError", cause, "YES")
        assert "in fail_later" in error.text
    assert caller.ask("later(1, peer=w)[1]") == 1


def test_an_async_function_is_let_go_at_its_deadline_and_the_next_answer_is_the_next_calls(
    caller: Actor, worker: Actor
) -> None:
    worker.run("gate.clear()")
    error = refused(caller, "wait_for_the_gate(peer=w, timeout=0.2)")
    assert (error.kind, error.ran) == ("CallTimeout", "MAYBE")
    caller.run("open_the_gate(peer=w)")
    assert caller.ask("[later(n, peer=w)[1] for n in range(5)]") == list(range(5))
    assert caller.ask("wait_for_the_gate(peer=w, timeout=20)") == "through"


def test_an_async_function_may_call_further(caller: Actor) -> None:
    me = caller.ask("hubnet.Peer().id")
    assert caller.ask(f"later_further_away(3, {me!r}, peer=w)") == (me, 3)


@pytest.mark.parametrize("call", ["asyncio.run(inside())", "later_further_away(3, w.id, peer=w)"])
def test_an_async_function_of_our_own_peer_can_be_called_by_id_from_a_coroutine(caller: Actor, call: str) -> None:
    caller.run("async def inside(): return later(3, peer=hubnet.Peer().id)")
    assert caller.ask(call)[1] == 3


@pytest.mark.processes
def test_an_async_function_runs_on_the_main_thread_where_asked(shared: Net, worker: Actor) -> None:
    code = """
        import threading
        @hubnet.connect("on main")
        def on_main(): return threading.current_thread() is threading.main_thread()
        @hubnet.connect("on main, later")
        async def on_main_later(): return threading.current_thread() is threading.main_thread()
    """
    serving = shared.worker(code, HUBNET_GROUP="main thread")
    asker = shared.actor(code + "\n        m = hubnet.wait_for(1, 'main thread')[0]")
    serving.send("run", "hubnet.serve(main_thread=True)")
    eventually(lambda: asker.ask("on_main(peer=m)"))
    later = asker.ask("on_main_later(peer=m)")
    serving.signal(SIGTERM)
    serving.answer()
    serving.close()
    asker.close()
    assert later is True


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_deadline_goes_down_to_nested_calls(shared: Net, caller: Actor, worker: Actor) -> None:
    third = shared.worker(APP, HUBNET_GROUP="third")
    worker.run("del told[:]; gate.clear()")
    error = refused(caller, f"pass_on({id_of(third)!r}, peer=w, timeout=0.5)")
    assert "CallTimeout" in {error.kind, error.cause}  # whichever of the two timeouts was noticed first
    eventually(lambda: worker.ask("told") == ["CallTimeout"])  # though it gave no timeout to its own call
    third.run("gate.set()")
    assert caller.ask(f"pass_on({id_of(third)!r}, peer=w, timeout=30)") == "held"
    third.close()


@pytest.mark.processes
def test_a_timeout_is_a_timeout_error_even_if_a_nested_call_was_the_first_to_notice(
    shared: Net, caller: Actor, worker: Actor
) -> None:
    third = shared.worker(APP, HUBNET_GROUP="third")
    worker.run("del told[:]; gate.clear()")
    caller.send("ask", f"pass_on({id_of(third)!r}, peer=w, timeout=1.5)")
    eventually(lambda: third.ask("hubnet.stats()['calls.running']") == 1)
    with stopped(caller):
        eventually(lambda: worker.ask("told, hubnet.stats()['calls.running']") == (["CallTimeout"], 0))
        third.run("gate.set()")
        third.close()
    with pytest.raises(Raised) as caught:
        caller.answer()
    assert "TimeoutError" in caught.value.kinds


@pytest.mark.processes
def test_a_deadline_goes_down_to_nested_calls_of_a_call_to_ourselves(caller: Actor, worker: Actor) -> None:
    worker.run("gate.clear(); timer = threading.Timer(1.0, gate.set); timer.start()")
    caller.run("del told[:]")
    caller.run(
        """
        try:
            pass_on(w.id, peer=hubnet.Peer().id, timeout=0.3)
        except hubnet.CallTimeout:
            pass
        """
    )
    worker.run("timer.cancel(); timer.join(); gate.set()")
    assert caller.ask("told") == ["CallTimeout"]


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_limit_holds_for_callers_of_several_processes_and_all_are_answered(crowd: list[Actor], worker: Actor) -> None:
    for one in crowd:
        one.run("from concurrent.futures import ThreadPoolExecutor")
        one.send("ask", "list(ThreadPoolExecutor(8).map(lambda i: narrow(i, peer=w), range(20)))")
    assert [one.answer(60) for one in crowd] == [list(range(20))] * 3
    assert worker.ask("inside, most") == (0, 2)  # each of them waited for another: two did run at once, and never three
    worker.run("most = 0")
    for one in crowd:
        one.send("ask", "list(ThreadPoolExecutor(8).map(lambda i: takes_its_time(i, peer=w), range(10)))")
    assert [one.answer(60) for one in crowd] == [list(range(10))] * 3
    assert worker.ask("inside, most") == (0, 1)


def test_who_waits_for_a_limited_function_keeps_nobody_out_of_others(crowd: list[Actor], worker: Actor) -> None:
    worker.run("gate.clear()")
    for n, one in enumerate(crowd[:2]):
        one.send("ask", f"one_at_a_time({n}, peer=w)")
    asker = crowd[2]
    eventually(lambda: asker.ask("hubnet.stats(peer=w)['calls.queued']") == 1)
    assert asker.ask("hubnet.stats(peer=w)['calls.running']") == 1
    assert asker.ask("fails('value', peer=w), hubnet.pass_through(1, peer=w)") == ("value", 1)
    asker.run("open_the_gate(peer=w)")
    assert [one.answer() for one in crowd[:2]] == [0, 1]


def test_each_peer_has_its_own_limit(crowd: list[Actor], caller: Actor, worker: Actor) -> None:
    crowd[1].run(f"other = {id_of(caller)!r}")
    for one in (worker, caller):
        one.run("gate.clear(); del entered[:]")
    crowd[0].send("ask", "one_at_a_time(1, peer=w)")
    crowd[1].send("ask", "one_at_a_time(2, peer=other)")
    for one in (worker, caller):
        eventually(lambda one=one: one.ask("len(entered)") == 1)  # type: ignore[misc]
    for one in (worker, caller):
        one.run("gate.set()")
    assert [one.answer() for one in crowd[:2]] == [1, 2]


@pytest.mark.parametrize("how", ["raise", "a result that cannot travel", "an argument that cannot be rebuilt"])
def test_a_limited_function_that_fails_gives_its_place_back(caller: Actor, how: str) -> None:
    caller.run("class Broken:\n    def __reduce__(self): return exec, ('raise KeyError(1)',)")
    call = "fails(Broken(), peer=w)" if "argument" in how else f"fails({how!r}, peer=w)"
    for _ in range(3):
        assert refused(caller, call).kind == ("DecodeError" if "argument" in how else "RemoteError")
    assert caller.ask("fails('value', peer=w, timeout=20)") == "value"


@pytest.mark.processes
def test_whose_patience_ends_before_a_place_is_free_is_told_that_the_peer_is_busy(
    shared: Net, crowd: list[Actor], worker: Actor
) -> None:
    asker = shared.actor(APP + "\n    w = hubnet.wait_for(1, 'w')[0]", HUBNET_TIMEOUT="0.5")
    asker.ask("who(peer=w, timeout=20)")  # its link is there: what follows waits for a place alone
    worker.run("gate.clear(); del entered[:]")
    crowd[0].send("ask", "one_at_a_time(1, peer=w)")
    eventually(lambda: worker.ask("entered") == [1])
    for call in ("one_at_a_time(2, peer=w)", "one_at_a_time(2, peer=w, timeout=0.4)"):
        error = refused(asker, call)
        assert (error.kind, error.ran) == ("PeerBusy", "NO")
    worker.run("gate.set()")
    assert crowd[0].answer() == 1
    assert asker.ask("one_at_a_time(3, peer=w)") == 3
    asker.close()


def test_a_busy_peers_error_says_that_the_connections_own_limit_was_reached(crowd: list[Actor], worker: Actor) -> None:
    worker.run("gate.clear(); del entered[:]")
    crowd[0].send("ask", "one_at_a_time(1, peer=w)")
    eventually(lambda: worker.ask("entered") == [1])
    before = worker.ask("hubnet.stats().get('calls.refused', 0)")
    error = refused(crowd[1], "one_at_a_time(2, peer=w, timeout=0.4)")
    assert worker.ask("hubnet.stats()['calls.refused']") == before + 1
    worker.run("gate.set()")
    crowd[0].answer()
    assert error.kind == "PeerBusy"
    assert "one at a time" in error.text
    assert "limit=1" in error.text
    assert "HUBNET_THREAD_LIMIT" not in error.text


@pytest.mark.processes
def test_a_limit_is_for_others_and_a_peer_that_calls_itself_is_not_counted(caller: Actor) -> None:
    caller.run(
        """
        from concurrent.futures import ThreadPoolExecutor
        inside, most, third = 0, 0, threading.Barrier(3)
        @hubnet.connect("alone", limit=1)
        def alone():
            global inside, most
            inside += 1
            most = max(most, inside)
            try:
                third.wait(20)
            except threading.BrokenBarrierError:
                pass
            inside -= 1
        list(ThreadPoolExecutor(3).map(lambda _: alone(peer=hubnet.Peer().id), range(3)))
        """
    )
    assert caller.ask("most") == 3


# -- calls that may be repeated ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_call_that_was_lost_under_way_is_sent_again_only_if_it_was_declared_idempotent(idempotent: bool) -> None:
    runs: list[int] = []
    with LocalNet() as net:
        worker = net.peer(group="w")

        @worker.connect("fragile", idempotent=idempotent)
        def fragile(n: int) -> Any:
            runs.append(n)
            if len(runs) == 1:
                net.drop(net.me, worker)
            return n, hubnet.Peer().id

        if idempotent:
            assert fragile(5, peer=worker.id) == (5, worker.id)
        else:
            with pytest.raises(hubnet.PeerLost, match="may have run") as caught:
                fragile(5, peer=worker.id)
            assert caught.value.ran == MAYBE
    assert runs == [5] * (2 if idempotent else 1)


def test_a_call_that_raised_is_not_repeated_though_it_was_declared_idempotent() -> None:
    runs: list[int] = []
    with LocalNet() as net:
        worker = net.peer()

        @worker.connect("raises", idempotent=True)
        def raises() -> None:
            runs.append(1)
            raise ConnectionResetError("its own trouble")

        with pytest.raises(hubnet.RemoteError, match="its own trouble"):
            raises(peer=worker.id)
    assert runs == [1]


KEEPER = """
import dataclasses, hubnet
print("executed as", __name__, flush=True)
frames = []
@dataclasses.dataclass
class Shot:
    name: str
@hubnet.connect()
def render(shot):
    frames.append(shot)
    return isinstance(shot, Shot), len(frames), __name__
@hubnet.subscribe("done")
def on_done(n): print("heard", n, "in", __name__, flush=True)
if __name__ == "__main__": hubnet.serve()
"""


@pytest.mark.processes
def test_what_is_sent_to_a_program_by_who_imported_it_does_not_run_it_a_second_time(programs: Programs) -> None:
    """Its functions would be replaced by those of the copy, its state would be empty, and events would be heard twice."""
    (programs.folder / "keeper.py").write_text(KEEPER)
    keeper = programs.run("python", "keeper.py", HUBNET_GROUP="keepers").wait_for("executed as __main__")
    asked = (
        "import hubnet, keeper; w = hubnet.wait_for(1, 'keepers', timeout=20)[0]\n"
        "hubnet.event('done')(lambda n: ((n,), {}))(1)\n"
        "print('it said', *(keeper.render(it, peer=w) for it in ('plain', keeper.Shot('a'), keeper.Shot('b'))))\n"
        "hubnet.event('done')(lambda n: ((n,), {}))(2)"
    )
    programs.run("python", "-c", asked).wait_for(
        "it said (False, 1, '__main__') (True, 2, '__main__') (True, 3, '__main__')"
    )
    keeper.wait_for("heard 2 in __main__")
    assert "executed as keeper" not in keeper.out
    assert "in keeper" not in keeper.out


EDITED = """
import sys, hubnet
class Shot:
    def version(self): return "one"
@hubnet.connect()
def look(shot): return isinstance(shot, Shot), shot.version()
if __name__ == "__main__":
    if len(sys.argv) == 1:
        hubnet.serve()
    else:
        print("it said", *look(Shot(), peer=hubnet.wait_for(1, sys.argv[1])[0]), flush=True)
"""


@pytest.mark.processes
def test_a_program_that_was_edited_while_it_runs_is_another_file(programs: Programs) -> None:
    (programs.folder / "edited.py").write_text(EDITED)
    programs.run("python", "edited.py", HUBNET_GROUP="editors")
    programs.run("python", "-c", "import hubnet; hubnet.wait_for(1, 'editors', timeout=20); print('there')").wait_for(
        "there"
    )
    (programs.folder / "edited.py").write_text(EDITED.replace('"one"', '"two"'))
    programs.run("python", "edited.py", "editors").wait_for("it said False two")

"""What is passed to a call and what it returns arrives equal and of the same type, at every size, or is refused by name.

The rows are in values.py, which both ends import: each makes the value for itself and compares what came with that.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import pytest

from tests.waiting import free_port

from .conftest import Actor, Net, Raised
from .values import SIZED, USED, VALUES

SERVED = """
    import functools, math, socket, threading, numpy, hubnet
    from tests.api.values import *

    kept = []
    ran = []

    def made(how):
        return eval(how, globals())

    @hubnet.connect()
    def judge(how, *args, **kwargs):
        came = [*args, *kwargs.values()]
        return [difference(one, made(how)) for one in came]

    @hubnet.connect()
    def look(how, *args, **kwargs):
        return eval(how, {**globals(), "args": args, "kwargs": kwargs})

    @hubnet.connect()
    def give(how):
        ran.append(how)
        return eval(how, globals())

    @hubnet.connect()
    def echo(value):
        return value

    @hubnet.connect()
    def keep(value):
        kept.append(value)
        return value

    @hubnet.connect()
    def blame(error):
        raise error

"""
WIRES = ("auto", "open-mac", "full")
EDGES = (0, 1, 1023, 1024, 1025, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1)
HUGE = 300 << 20
AS = {
    "an argument": ("judge(how, value, peer=worker)", [""]),
    "a keyword": ("judge(how, value=value, peer=worker)", [""]),
    "an argument beside others": ("judge(how, value, value, also=value, peer=worker)", ["", "", ""]),
    "a result": ("difference(give(how, peer=worker), value)", ""),
    "a result of its argument": ("difference(echo(value, peer=worker), value)", ""),
}


@pytest.fixture(scope="module")
def parts(shared: Net) -> tuple[Actor, Actor]:
    """A worker and a caller that import the same modules; a hub and workers that never seal besides."""
    shared.module("served", SERVED)
    shared.hub()
    worker = shared.worker("from served import *", HUBNET_GROUP="auto")
    shared.worker("from served import *", HUBNET_GROUP="open-mac", HUBNET_WIRE="open-mac")
    shared.worker("from served import *", HUBNET_GROUP="full", HUBNET_WIRE="open-mac", HUBNET_INTEGRITY="full")
    caller = shared.actor("from served import *")
    caller.run(f"workers = {{wire: hubnet.wait_for(1, wire)[0] for wire in {WIRES}}}; worker = workers['auto']")
    return worker, caller


@pytest.fixture
def caller(parts: tuple[Actor, Actor]) -> Actor:
    return parts[1].run("worker = workers['auto']")


@pytest.fixture
def worker(parts: tuple[Actor, Actor]) -> Actor:
    return parts[0]


def travels(caller: Actor, how: str, *, wire: str = "auto", ways: tuple[str, ...] = tuple(AS)) -> None:
    """Check that a value arrives as it is, whichever way it goes."""
    caller.run(f"worker = workers[{wire!r}]; how = {how!r}; value = made(how)")
    for way in ways:
        code, nothing = AS[way]
        assert caller.ask(code) == nothing, way


# -- every kind --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_arrives_equal_and_of_the_same_type(caller: Actor, kind: str) -> None:
    travels(caller, f"VALUES[{kind!r}]()")


@pytest.mark.parametrize(
    "kind",
    VALUES,
)
def test_a_value_in_a_container_arrives_equal_and_of_the_same_type(caller: Actor, kind: str) -> None:
    travels(
        caller, f"[{{1: VALUES[{kind!r}]()}}, (VALUES[{kind!r}](),)]", ways=("an argument", "a keyword", "a result")
    )


@pytest.mark.parametrize(
    "how",
    ["memoryview(bytes(8)).cast('i')", "memoryview(bytes(8))[::2]", "memoryview(bytes(6)).cast('B', (2, 3))"],
)
def test_a_memoryview_of_numbers_or_with_a_stride_or_with_dimensions_stays_one(caller: Actor, how: str) -> None:
    travels(caller, how)


@pytest.mark.parametrize("kind", USED)
def test_a_value_without_equality_can_be_used_there_as_here(caller: Actor, kind: str) -> None:
    caller.run(f"make, use = USED[{kind!r}]; expected = use(make())")
    use, make = f"USED[{kind!r}][1]([*args, *kwargs.values()][0])", f"USED[{kind!r}][0]()"
    assert caller.ask(f"difference(look({use!r}, make(), peer=worker), expected)") == ""
    assert caller.ask(f"difference(look({use!r}, a=make(), peer=worker), expected)") == ""
    assert caller.ask(f"difference(use(give({make!r}, peer=worker)), expected)") == ""


@pytest.mark.parametrize("name", ["double", "Plain", "Plain.Inner", "math.sqrt", "len", "echo", "Colour.RED", "int"])
def test_what_a_module_defines_travels_by_reference(caller: Actor, name: str) -> None:
    assert caller.ask(f"look('args[0] is {name}', {name}, peer=worker)") is True
    assert caller.ask(f"give({name!r}, peer=worker) is {name}") is True


@pytest.mark.parametrize(
    "how", ["numpy.zeros(0)", "GRID.T", "numpy.zeros(100_000)", "numpy.zeros((2, 3_000_000), 'u1')"]
)
@pytest.mark.parametrize("wire", WIRES)
def test_an_array_that_arrived_can_be_written_to(caller: Actor, how: str, wire: str) -> None:
    caller.run(f"worker = workers[{wire!r}]; value = give({how!r}, peer=worker); value[...] = 7")
    assert caller.ask(
        f"bool((value == 7).all() and (look('args[0].fill(7) or args[0]', {how}, peer=worker) == 7).all())"
    )


READ_ONLY = {
    "read_only(numpy.arange(5))": False,
    "read_only(numpy.arange(100_000))": False,
    "read_only(numpy.arange(60_000.0).reshape(200, 300)).T": False,
    "numpy.frombuffer(bytes(100_000), 'u1')": False,
    "read_only(numpy.arange(200_000))[::2]": True,
    "numpy.broadcast_to(numpy.arange(3), (4, 3))": True,
    "read_only(objects(1, [2]))": True,
    "read_only(structured()).view(numpy.recarray)": True,
}


@pytest.mark.parametrize("how", READ_ONLY)
@pytest.mark.parametrize("wire", WIRES)
def test_a_read_only_array_stays_one_unless_numpy_copies_it_on_the_way(caller: Actor, how: str, wire: str) -> None:
    caller.run(f"worker = workers[{wire!r}]; value = {how}")
    writable = READ_ONLY[how]
    assert caller.ask(f"value.flags.writeable, give({how!r}, peer=worker).flags.writeable") == (False, writable)
    assert caller.ask(
        "look('args[0].flags.writeable, kwargs[\"a\"].flags.writeable', value, a=value, peer=worker)"
    ) == (writable, writable)
    assert caller.ask("look('args[0].copy().flags.writeable', value, peer=worker)") is True


@pytest.mark.parametrize(
    "count",
    [1, 100, 4096, 4097, 10_000],
)
def test_any_number_of_arrays_travels_in_one_call(caller: Actor, count: int) -> None:
    travels(caller, f"[numpy.array([n]) for n in range({count})]", ways=("an argument", "a result"))


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_arguments_travels_in_one_call(caller: Actor, count: int) -> None:
    caller.run(
        f"args = [bytes([n % 256]) * 1000 for n in range({count})]; kwargs = {{f'key {{n}}': n for n in range({count})}}"
    )
    assert caller.ask("look('list(args), kwargs', *args, peer=worker, **kwargs) == (args, kwargs)")
    assert caller.ask("look('list(kwargs)', peer=worker, **kwargs) == list(kwargs)")


# -- classes and functions of __main__ ---------------------------------------------------------------------------------

MAIN = """
    import abc, collections, dataclasses, enum, typing

    class Job:
        total = 0
        def __init__(self, number): self.number = number
        def __eq__(self, other): return type(self) is type(other) and self.number == other.number
        __hash__ = None
        def twice(self): return helper(self.number)
        @classmethod
        def of(cls, number): return cls(number)
        @staticmethod
        def fixed(): return 9
        @property
        def shown(self): return f"job {self.number}"

    def helper(value): return value * FACTOR

    FACTOR = 2

    class Special(Job):
        def twice(self): return super().twice() + 1

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def cost(self): ...

    class Concrete(Abstract):
        def cost(self): return 5

    @dataclasses.dataclass
    class Record:
        name: str
        tags: list = dataclasses.field(default_factory=list)

    @dataclasses.dataclass(frozen=True, slots=True)
    class Sealed:
        number: int

    class State(enum.Enum):
        IDLE = 1
        BUSY = 2

    class Bits(enum.Flag):
        A = enum.auto()
        B = enum.auto()

    Pair = collections.namedtuple("Pair", "a b")

    class Typed(typing.NamedTuple):
        a: int = 1

    class Slots:
        __slots__ = ("a",)

    class Failure(Exception):
        def __init__(self, text, shot=None):
            super().__init__(text, shot)
            self.shot = shot

    class Words(str):
        pass

    def slots(value):
        made = Slots()
        made.a = value
        return made
"""
OF_MAIN = [
    ("Job(3)", "it.number, it.shown, it.twice(), it.fixed()", (3, "job 3", 6, 9)),
    ("Job", "it.of(4).twice(), it.__name__, it.__module__", (8, "Job", "__main__")),
    ("Special(3)", "it.twice(), isinstance(it, type(it).__mro__[1])", (7, True)),
    ("Concrete()", "it.cost(), isinstance(it, type(it).__mro__[1])", (5, True)),
    ("Record('s', ['t'])", "it.name, it.tags, dataclasses.asdict(it)", ("s", ["t"], {"name": "s", "tags": ["t"]})),
    ("Sealed(3)", "it.number, it == type(it)(3)", (3, True)),
    ("State.BUSY", "it.name, it.value, it is type(it)(2)", ("BUSY", 2, True)),
    ("Bits.A | Bits.B", "it.value, type(it).A in it", (3, True)),
    ("Pair(1, [2])", "it.a, it.b, it._fields", (1, [2], ("a", "b"))),
    ("Typed(5)", "it.a, isinstance(it, tuple)", (5, True)),
    ("slots('x')", "it.a", "x"),
    ("Failure('bad', 's010')", "it.args, it.shot, isinstance(it, Exception)", (("bad", "s010"), "s010", True)),
    ("Words('words')", "it == 'words', type(it).__name__", (True, "Words")),
    ("helper", "it(21)", 42),
    ("Job(3).twice", "it()", 6),
    ("[Job(1), {2: Job(2)}, {Job}]", "it[0].number, it[1][2].number, it[0].__class__ in it[2]", (1, 2, True)),
    ("functools.partial(helper, 4)", "it()", 8),
    ("lambda: helper(5)", "it()", 10),
]


@pytest.fixture(scope="module")
def defined(parts: tuple[Actor, Actor]) -> None:
    parts[1].run(MAIN)


@pytest.fixture
def main(caller: Actor, defined: None) -> Actor:
    """A caller whose ``__main__`` defines what the worker has never heard of."""
    return caller


@pytest.mark.parametrize(("how", "use", "expected"), OF_MAIN, ids=[how for how, _, _ in OF_MAIN])
def test_what_main_defines_can_be_used_where_it_arrives(main: Actor, how: str, use: str, expected: object) -> None:
    used = f"[({use}) for it in [*args, *kwargs.values()]][0]"
    assert main.ask(f"look({used!r}, {how}, peer=worker)") == expected
    assert main.ask(f"look({used!r}, a={how}, peer=worker)") == expected


SERVES = "\n@hubnet.connect('give')\ndef given(how): return eval(how)"
WITHOUT_EQUALITY = ("functools", "lambda", "slots", "Concrete", "helper")


@pytest.mark.parametrize("how", [how for how, _, _ in OF_MAIN if not how.startswith(WITHOUT_EQUALITY)])
def test_what_main_defines_comes_home_as_what_it_was(main: Actor, how: str) -> None:
    assert main.ask(f"difference(echo({how}, peer=worker), {how})") == ""


def test_what_main_defines_is_the_same_class_in_every_call(main: Actor) -> None:
    assert main.ask("echo([keep(Job(1), peer=worker), Job(2)], peer=worker)[0].number") == 1
    assert main.ask("look('type(args[0]) is type(kept.pop())', Job(3), peer=worker)") is True


def test_what_the_workers_main_defines_can_be_used_by_who_gets_it_as_a_result(shared: Net, main: Actor) -> None:
    there = shared.worker("import functools\n" + textwrap.dedent(MAIN) + SERVES, HUBNET_GROUP="main")
    shared.module("given", "import hubnet\n@hubnet.connect('give')\ndef give(how): pass")
    asking = shared.actor(
        "import dataclasses, functools\nfrom given import give\nthere = hubnet.wait_for(1, 'main')[0]"
    )
    for how, use, expected in OF_MAIN:
        assert asking.ask(f"[({use}) for it in [give({how!r}, peer=there)]][0]") == expected, how
    asking.close()
    there.close()


@pytest.mark.processes
def test_what_main_defines_is_the_same_class_in_another_process_of_the_same_file(shared: Net, caller: Actor) -> None:
    (shared.folder / "twin.py").write_text(
        "import hubnet\nclass Job: pass\n@hubnet.connect()\ndef known(job): return type(job) is Job\n"
        "@hubnet.connect()\ndef ask(peer_id): return known(Job(), peer=peer_id)\n"
        "if __name__ == '__main__': hubnet.serve()\n"
    )
    twins = [shared.actor(start=False, HUBNET_GROUP="twin") for _ in range(2)]
    for twin in twins:
        twin.send("run", "import runpy, pathlib; runpy.run_path('twin.py', run_name='__main__')")
    caller.run("from twin import ask\ntwins = hubnet.wait_for(2, 'twin')")
    try:
        assert caller.ask("ask(twins[0].id, peer=twins[1])") is True
    finally:
        for twin in twins:
            twin.close()


# -- references --------------------------------------------------------------------------------------------------------

SHARED = {
    "a list": "[1]",
    "a dict": "{}",
    "a bytearray": "bytearray(b'x')",
    "a large bytearray": "bytearray(70_000)",
    "an instance": "Plain(3)",
    "an array": "numpy.arange(3)",
    "a large array": "numpy.zeros(100_000)",
    "a str": "'a string ' * 3",
    "small bytes": "b'bytes' * 3",
    "large bytes": "bytes(70_000)",
    "a memoryview": "memoryview(b'view')",
    "a closure": "closure(3)",
    "a dataclass": "Shot('s')",
}


@pytest.mark.parametrize(
    "kind",
    SHARED,
)
def test_a_reference_shared_between_arguments_stays_shared(caller: Actor, kind: str) -> None:
    caller.run(f"value = {SHARED[kind]}")
    assert caller.ask("look('args[0] is args[1]', value, value, peer=worker)") is True
    assert caller.ask("look('args[0] is kwargs.get(*args[1:])', value, 'a', a=value, peer=worker)") is True
    if kind not in {
        "large bytes",
        "a memoryview",
    }:  # as an argument these are not in the pickle; nobody can change them
        assert caller.ask("look('args[0] is args[1][0]', value, [value], peer=worker)") is True
    assert caller.ask("look('args[0] is not args[1]', [1], [1], peer=worker)") is True


@pytest.mark.parametrize("kind", [kind for kind in SHARED if kind != "a memoryview"])
def test_a_reference_shared_within_a_value_stays_shared(caller: Actor, kind: str) -> None:
    caller.run(f"value = {SHARED[kind]}")
    assert caller.ask("look('args[0][0] is args[0][1][2]', [value, {2: value}], peer=worker)") is True
    assert caller.ask("(lambda it: it[0] is it[1])(echo((value, value), peer=worker))") is True
    twice = f"(lambda x: (x, x))({SHARED[kind]})"
    assert caller.ask(f"(lambda it: it[0] is it[1])(give({twice!r}, peer=worker))") is True


def test_a_reference_shared_between_arguments_comes_back_shared(caller: Actor) -> None:
    assert caller.ask("(lambda x: (lambda a, b: a is b['x'])(*look('args[0], kwargs', x, x=x, peer=worker)))([])")


CYCLES = {
    "a list in itself": ("value = []; value.append(value)", "it[0] is it"),
    "a dict in itself": ("value = {}; value['self'] = value", "it['self'] is it"),
    "a tuple in its list": ("value = ([],); value[0].append(value)", "it[0][0] is it"),
    "an instance that knows itself": ("value = Plain(1); value.own = value", "it.own is it"),
    "two that know each other": (
        "value = Plain(1); value.other = Plain(2); value.other.other = value",
        "it.other.other is it and it.other.number == 2",
    ),
    "a dataclass in its list": ("value = Shot('s'); value.frames.append(value)", "it.frames[0] is it"),
    "an instance among its children": (
        "value = Items(); value.children = {1: [value]}; value.append(value)",
        "it.children[1][0] is it and it[0] is it",
    ),
    "an array of objects in itself": ("value = objects(1, 2); value[0] = value", "it[0] is it"),
    "an exception that knows itself": ("value = ValueError(1); value.own = value", "it.own is it"),
    "a ring of large bytes": ("value = [bytes(70_000)]; value.append(value)", "it[1] is it and len(it[0]) == 70_000"),
    "a ring of arrays": ("value = [numpy.zeros(10)]; value.append(value)", "it[1] is it and len(it[0]) == 10"),
    "a ring with a lambda": ("value = [lambda: 5]; value.append(value)", "it[1] is it and it[0]() == 5"),
    "an instance of a class of main": ("value = Job(1); value.own = value", "it.own is it and it.twice() == 2"),
}


@pytest.mark.parametrize("kind", CYCLES)
def test_a_cycle_survives(main: Actor, kind: str) -> None:
    build, check = CYCLES[kind]
    main.run(build)
    checked = f"[{check} for it in [*args, *kwargs.values()]][0]"
    assert main.ask(f"look({checked!r}, value, peer=worker)") is True
    assert main.ask(f"look({checked!r}, a=value, peer=worker)") is True
    assert main.ask(f"[{check} for it in [echo(value, peer=worker)]][0]") is True


def test_a_cycle_through_two_arguments_survives(caller: Actor) -> None:
    caller.run("first, second = [], {}; first.append(second); second['first'] = first")
    assert caller.ask(
        'look(\'args[0][0] is kwargs["a"] and kwargs["a"]["first"] is args[0]\', first, a=second, peer=worker)'
    )


# -- what was raised ---------------------------------------------------------------------------------------------------

RAISED = {
    "a built-in one": "ValueError('bad', 5)",
    "one of the system": "FileNotFoundError(2, 'not there', '/shots')",
    "one with attributes": "with_attribute(WithAttributes('text', 's010'), frames=[1, 2])",
    "one of main": "Failure('bad', 's010')",
    "one with a mebibyte": "with_attribute(KeyError('k'), data=bytes(1 << 20))",
    "one with a long text": "LookupError('x' * 100_000)",
    "one with an array": "with_attribute(KeyError('k'), data=numpy.arange(3))",
}


@pytest.mark.parametrize(
    "kind",
    RAISED,
)
def test_what_was_raised_there_is_the_cause_here_with_all_that_it_has(main: Actor, kind: str) -> None:
    main.run(
        f"""
        value, caught = {RAISED[kind]}, None
        try:
            blame(value, peer=worker)
        except hubnet.RemoteError as error:
            caught = error
        """
    )
    assert main.ask("difference(caught.__cause__, value)") == ""
    assert main.ask("caught.ran") == "YES"


# -- what cannot travel ------------------------------------------------------------------------------------------------

STUCK = {
    "a lock": ("threading.Lock()", "lock"),
    "a generator": ("(n for n in [1])", "generator"),
    "an open file": ("open(__file__, 'rb')", "BufferedReader"),
    "an open text file": ("open(__file__)", "TextIOWrapper"),
    "a socket": ("socket.socket()", "socket"),
    "a thread": ("threading.Thread()", "lock"),
    "a condition": ("threading.Condition()", "RLock"),
    "a frame": ("__import__('sys')._getframe()", "frame"),
    "a list too deep": ("nested(100_000)", "RecursionError"),
    "a closure over a lock": ("(lambda lock: lambda: lock)(threading.Lock())", "lambda"),
    "a partial of a lock": ("functools.partial(double, threading.Lock())", "lock"),
}
EACH_STUCK = list(STUCK)
NAMED = {
    "echo(value, peer={peer})": "argument 0 ",
    "look('ran.append(0)', value, peer={peer})": "argument 1 ",
    "look('ran.append(0)', 2, 3, [4, {{5: value}}], peer={peer})": "argument 3 ",
    "look('ran.append(0)', 2, shot=value, frame=3, peer={peer})": "argument 'shot' ",
    "look('ran.append(0)', bytes(70_000), frame=(value,), peer={peer})": "argument 'frame' ",
    "look('ran.append(0)', **{{'a name': value}}, timeout=20, peer={peer})": "argument 'a name' ",
    "worker.call(look.connection.tag, 'ran.append(0)', value)": "argument 1 ",
}


def let_go(caller: Actor) -> None:
    """Close what the value holds, before a warning says that nobody did."""
    caller.run("getattr(value, 'close', bool)(); value = None")


@pytest.mark.parametrize("call", NAMED)
@pytest.mark.parametrize("kind", EACH_STUCK)
def test_an_argument_that_cannot_travel_is_named_and_nothing_is_sent(
    caller: Actor, worker: Actor, kind: str, call: str
) -> None:
    caller.run(f"value = {STUCK[kind][0]}")
    before = worker.ask("len(ran), hubnet.stats()['links.incoming']")
    try:
        with pytest.raises(Raised) as caught:
            caller.ask(call.format(peer="worker"))
    finally:
        let_go(caller)
    assert (caught.value.kind, caught.value.ran) == ("EncodeError", "NO")
    assert NAMED[call] in caught.value.text
    assert STUCK[kind][1] in caught.value.text
    assert worker.ask("len(ran), hubnet.stats()['links.incoming']") == before
    assert caller.ask("echo(1, peer=worker)") == 1


def test_an_argument_that_cannot_travel_is_told_before_anybody_is_looked_for(caller: Actor) -> None:
    caller.run("value = threading.Lock()")
    nobody = caller.ask(f"hubnet.Peer().generate_id({free_port()}, '127.0.0.1', 'nobody')")
    with pytest.raises(Raised, match="argument 0 ") as caught:
        caller.ask(f"echo(value, peer={nobody!r})")
    assert caught.value.kind == "EncodeError"


@pytest.mark.parametrize("kind", EACH_STUCK)
def test_a_result_that_cannot_travel_is_an_error_that_says_it_ran(caller: Actor, worker: Actor, kind: str) -> None:
    how = STUCK[kind][0]
    caller.run(
        f"""
        caught = None
        try:
            give({how!r}, peer=worker)
        except hubnet.HubnetError as error:
            caught = error
        """
    )
    assert worker.ask("ran[-1]") == how
    assert caller.ask("type(caught).__name__, caught.type_name, caught.ran") == (
        "RemoteError", "hubnet.errors.EncodeError", "YES",
    )  # fmt: skip
    assert caller.ask("type(caught.__cause__) is hubnet.EncodeError and caught.__cause__.ran") == "YES"
    assert caller.ask(f"'served.give' in str(caught) and {STUCK[kind][1]!r} in str(caught)")
    assert caller.ask("echo(1, peer=worker)") == 1


@pytest.mark.processes
def test_an_argument_that_cannot_be_rebuilt_there_is_told_and_the_function_does_not_run(
    shared: Net, caller: Actor
) -> None:
    (shared.folder / "aside").mkdir()
    (shared.folder / "aside" / "only_here.py").write_text("class Thing: pass")
    caller.run("import sys; sys.path.append('aside'); import only_here")
    with pytest.raises(Raised, match=r"an argument of .* cannot be rebuilt here.*only_here") as caught:
        caller.ask("look('ran.append(1)', [only_here.Thing()], peer=worker)")
    assert caught.value.ran == "NO"
    assert caller.ask("echo(1, peer=worker)") == 1


def test_a_result_that_cannot_be_rebuilt_here_is_told_and_it_ran(caller: Actor, worker: Actor) -> None:
    worker.run("class Once:\n    def __reduce__(self): return (math.sqrt, (-1,))\nimport served; served.Once = Once")
    with pytest.raises(Raised, match=r"result of .*served\.give.* cannot be rebuilt here") as caught:
        caller.ask("give('Once()', peer=worker)")
    assert (caught.value.kind, caught.value.ran) == ("DecodeError", "YES")
    assert worker.ask("ran[-1]") == "Once()"


# -- every size --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("kind", SIZED)
def test_nothing_is_cut_at_any_size(caller: Actor, kind: str, size: int, wire: str) -> None:
    travels(caller, f"sized({kind!r}, {size})", wire=wire, ways=("an argument", "a keyword", "a result"))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", ["bytes", "a str", "an array"])
@pytest.mark.parametrize("edge", [1 << 10, 32 << 10, 64 << 10])
def test_nothing_is_cut_at_any_size_around_an_edge(caller: Actor, kind: str, edge: int, wire: str) -> None:
    caller.run(f"whole = sized({kind!r}, {edge + 50})")
    assert caller.ask(
        f"[size for size in range({edge - 200}, {edge + 50})"
        f" if not numpy.array_equal(echo(whole[:size], peer=workers[{wire!r}]), whole[:size])]"
    ) == []  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
def test_nothing_is_cut_of_many_large_values_in_one_call(caller: Actor, wire: str) -> None:
    kinds = [kind for kind in SIZED if "memoryview" not in kind]
    how = f"[sized(kind, size) for kind in {kinds} for size in (0, 1, 65_535, 65_536, 65_537, 1_048_577)]"
    travels(caller, how, wire=wire, ways=("an argument", "a result"))
    caller.run(f"values = {how}")
    assert caller.ask("difference(look('list(args)', *values, peer=worker), values)") == ""


@pytest.fixture
def roomy(shared: Net, parts: tuple[Actor, Actor]) -> Iterator[Actor]:
    """A caller and a worker that end with the test, and give their memory back."""
    there = shared.worker("from served import *", HUBNET_GROUP="roomy")
    here = shared.actor(f"from served import *\nworker = {there.ask('hubnet.Peer().id')!r}")
    yield here
    here.leave()
    there.leave()


@pytest.mark.processes
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["bytes", "an array"])
def test_nothing_is_cut_of_300_mebibytes(roomy: Actor, kind: str) -> None:
    how = f"sized({kind!r}, {HUGE})"
    roomy.send("run", f"value = {how}; said = judge({how!r}, value, peer=worker); came = give({how!r}, peer=worker)")
    roomy.answer(180)
    assert roomy.ask("said, difference(came, value), came is not value and len(came)", 60) == ([""], "", HUGE)


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
def test_the_memory_of_a_received_array_is_never_used_again(caller: Actor, wire: str) -> None:
    caller.run(
        f"""
        target = workers[{wire!r}]
        sizes = [1, 100, 1_000, 8_000, 9_000, 20_000, 140_000, 70_000, 10, 0]
        def numbered(n): return numpy.full(sizes[n % 10], n, "f8")
        look("kept.clear()", peer=target)
        received = [keep(numbered(n), peer=target) for n in range(50)]
        for n in range(1_000):
            echo(numbered(n + 50 if n % 20 == 0 else n % 4 + 100), peer=target)
        """
    )
    assert caller.ask("[n for n in range(50) if difference(received[n], numbered(n))]") == []
    caller.run("came = look('kept', peer=target)")
    assert caller.ask("len(came), [n for n in range(50) if difference(came[n], numbered(n))]") == (50, [])


def test_what_is_written_into_a_received_array_is_seen_by_nobody_else(caller: Actor) -> None:
    caller.run("mine = numpy.arange(100_000.0); first, second = echo((mine, mine[:]), peer=worker); first[:] = -1")
    assert caller.ask("float(mine[5]), float(second[5]), float(echo(mine, peer=worker)[5])") == (5.0, 5.0, 5.0)


def test_an_array_that_changes_after_the_call_has_arrived_as_it_was(caller: Actor, worker: Actor) -> None:
    caller.run("mine = numpy.zeros(100_000); look('kept.clear()', peer=worker); keep(mine, peer=worker); mine[:] = 1")
    assert worker.ask("__import__('served').kept[0].any()") == False  # noqa: E712 - a bool of NumPy


# -- functions ---------------------------------------------------------------------------------------------------------

SHAPES = {
    "nothing": ("()", "()", ()),
    "positions": ("(a, b)", "(1, 2)", (1, 2)),
    "a default": ("(a, b=5)", "(1)", (1, 5)),
    "positions only": ("(a, /, b)", "(1, b=2)", (1, 2)),
    "keywords only": ("(*, a, b=5)", "(a=1)", (1, 5)),
    "more positions": ("(a, *b)", "(1, 2, 3)", (1, (2, 3))),
    "no kwargs, by name": ("(a, b)", "(b=2, a=1)", (1, 2)),
    "kwargs": ("(**a)", "(x=1, y=2)", ({"x": 1, "y": 2},)),
    "kwargs without any": ("(a, **b)", "(1)", (1, {})),
    "everything": ("(a, /, b=2, *c, d, e=5, **f)", "(1, 2, 3, d=4, g=6)", (1, 2, (3,), 4, 5, {"g": 6})),
    "kwargs by a name of a position": ("(a, /, **b)", "(1, a=2)", (1, {"a": 2})),
    "names of hubnet's own": ("(args, kwargs=1, *, connection=2, tag=3)", "(0, tag=4)", (0, 1, 2, 4)),
    "annotations": ("(a: 'list[int]', b: float = 0.5) -> 'tuple'", "([1])", ([1], 0.5)),
}


@pytest.fixture(scope="module")
def shapes(shared: Net, parts: tuple[Actor, Actor]) -> Actor:
    """The caller, with a function of each shape, undecorated and connected; the worker has them as well."""
    code = ["import hubnet"]
    for number, (signature, _, _) in enumerate(SHAPES.values()):
        names = "[name for name in (*'abcdefg', 'args', 'kwargs', 'connection', 'tag') if name in locals()]"
        body = f'    """Shape {number}."""\n    mine = locals(); return tuple(mine.values())'
        code.append(f"def bare_{number}{signature}:\n{body}\nbare_{number}.note = [{names!r}]")
        code.append(f"shape_{number} = hubnet.connect('shape {number}')(bare_{number})")
    shared.module("shapes", "\n".join(code))
    for one in parts:
        one.run("import shapes, inspect")
    return parts[1]


@pytest.mark.parametrize("kind", SHAPES)
def test_a_function_of_any_shape_takes_its_arguments_there_as_here(shapes: Actor, kind: str) -> None:
    number = list(SHAPES).index(kind)
    _, call, expected = SHAPES[kind]
    there = f"{call[:-1]}, peer=worker)" if call != "()" else "(peer=worker)"
    order = "tuple(sorted(it, key=repr))"
    here = shapes.ask(f"[{order} for it in [shapes.shape_{number}{call}]][0]")
    assert here == tuple(sorted(expected, key=repr))
    assert shapes.ask(f"[{order} for it in [shapes.shape_{number}{there}]][0]") == here
    assert shapes.ask(f"[{order} for it in [shapes.shape_{number}{there[:-1]}, timeout=20)]][0]") == here


@pytest.mark.parametrize("kind", SHAPES)
def test_a_connected_function_keeps_its_signature_and_what_it_says_of_itself(shapes: Actor, kind: str) -> None:
    number = list(SHAPES).index(kind)
    bare, connected = f"shapes.bare_{number}", f"shapes.shape_{number}"
    for what in (
        "inspect.signature(it)",
        "it.__name__, it.__qualname__, it.__module__, it.__doc__, it.__annotations__",
        f"it.note is {bare}.note",
        f"inspect.unwrap(it) is {bare}",
        "inspect.getsource(it)",
        "inspect.isfunction(it)",
        "__import__('typing').get_type_hints(it)",
    ):
        assert shapes.ask(f"(lambda it: ({what}))({bare}) == (lambda it: ({what}))({connected})"), what


@pytest.mark.parametrize(
    ("signature", "call", "text"),
    [
        ("nothing", "(1", "takes 0 positional arguments but 1 was given"),
        ("positions", "(1", "missing 1 required positional argument: 'b'"),
        ("positions", "(1, 2, c=3", "unexpected keyword argument 'c'"),
        ("positions", "(1, 2, a=3", "multiple values for argument 'a'"),
        ("keywords only", "(1", "takes 0 positional arguments but 1 "),
    ],
)
def test_arguments_that_do_not_fit_are_a_type_error_there_as_here(
    shapes: Actor, signature: str, call: str, text: str
) -> None:
    name = f"shapes.shape_{list(SHAPES).index(signature)}"
    with pytest.raises(Raised, match=text) as caught:
        shapes.ask(f"{name}{call})")
    assert caught.value.kind == "TypeError"
    with pytest.raises(Raised, match=text) as caught:
        shapes.ask(f"{name}{call}, peer=worker)")
    assert (caught.value.kind, caught.value.cause, caught.value.ran) == ("RemoteError", "TypeError", "YES")


METHODS = {
    "of an instance": ("Plain(1).plus", "plus"),
    "of a class": ("Plain.made", "made"),
    "not bound": ("Plain.plus", "Plain.plus"),
    "of a built-in": ("[].append", "append"),
    "of a built-in, not bound": ("list.append", "append"),
    "a class method": ("classmethod(lambda cls: 1)", "classmethod"),
    "a property": ("property(double)", "property"),
    "a class": ("Plain", "Plain"),
}


@pytest.mark.parametrize(
    "kind",
    METHODS,
)
def test_a_method_is_refused_with_the_reason(caller: Actor, kind: str) -> None:
    method, named = METHODS[kind]
    with pytest.raises(
        Raised, match=r"connect takes a function, not|connect cannot serve the method .*no instance"
    ) as caught:
        caller.run(f"hubnet.connect('the method {kind}')({method})")
    assert caught.value.kind == "TypeError"
    assert named in caught.value.text
    assert f"the method {kind}" not in caller.ask("list(hubnet.Peer().CONNECTIONS)")


def test_a_static_method_of_a_connected_function_is_served(caller: Actor, worker: Actor) -> None:
    for one in (worker, caller):
        one.run(
            "class Farm:\n    @staticmethod\n    @hubnet.connect('fixed')\n    def fixed(a): return hubnet.Peer().id, a"
        )
    there, here = worker.ask("hubnet.Peer().id"), caller.ask("hubnet.Peer().id")
    assert caller.ask("Farm.fixed(3, peer=worker), Farm().fixed(3, peer=worker), Farm.fixed(3)") == (
        (there, 3), (there, 3), (here, 3),
    )  # fmt: skip


def test_versions_under_one_tag_take_each_others_arguments_as_their_signatures_allow(
    shared: Net, caller: Actor
) -> None:
    version = "import hubnet\n@hubnet.connect('versioned')\ndef {name}({parameters}): return '{name}', {result}"
    shared.module("version_1", version.format(name="old", parameters="shot, frame", result="shot, frame"))
    wider = {"parameters": "shot, frame=0, *, pool=None, **more", "result": "shot, frame, pool, more"}
    shared.module("version_2", version.format(name="new", **wider))
    new = shared.worker("import version_2", HUBNET_GROUP="version 2")
    old = shared.worker("import version_1", HUBNET_GROUP="version 1")
    old.run("new = hubnet.wait_for(1, 'version 2')[0]")
    new.run("old = hubnet.wait_for(1, 'version 1')[0]")
    assert old.ask("version_1.old({1}, frame=(2,), peer=new)") == ("new", {1}, (2,), None, {})
    assert new.ask("version_2.new({1}, (2,), peer=old)") == ("old", {1}, (2,))
    with pytest.raises(Raised, match=r"old\(\) got an unexpected keyword argument 'pool'") as caught:
        new.ask("version_2.new(1, 2, pool='a', peer=old)")
    assert (caught.value.kind, caught.value.cause) == ("RemoteError", "TypeError")
    with pytest.raises(Raised, match=r"old\(\) got an unexpected keyword argument 'pool'"):
        old.ask("version_1.old(1, 2, pool='a')")
    assert old.ask("version_1.old(1, 2, pool='a', peer=new)") == ("new", 1, 2, "a", {})
    old.close()
    new.close()

"""Values of every kind that pickle or cloudpickle can carry, in a module that both ends import, and how to tell them apart.

Each end makes a value of its own from the same row, so that what has arrived is compared with what never travelled.
``difference`` is stricter than ``==``: it looks at types, at the sign of zero, at the order of arrays, at the attributes
of exceptions, all the way down.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import fractions
import functools
import io
import ipaddress
import math
import operator
import pathlib
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import numpy


class Colour(enum.Enum):
    RED = "red"
    LIKE_RED = ("red", 1)


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 9


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    RUN = enum.auto()


class Mode(enum.IntFlag):
    FAST = 1
    FINE = 4


class Text(str, enum.Enum):
    EXR = "exr"


@dataclasses.dataclass
class Shot:
    name: str
    frames: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int
    inner: Any = None


@dataclasses.dataclass(slots=True)
class Slotted:
    number: int
    inner: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlotted:
    number: int
    inner: Any = None


Point = collections.namedtuple("Point", "x y")


class Sample(NamedTuple):
    weight: float
    colour: tuple[int, ...] = ()


class Plain:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __repr__(self) -> str:
        return f"Plain({self.number})"

    def plus(self, more: int) -> int:
        return self.number + more

    @classmethod
    def made(cls, number: int) -> Plain:
        return cls(number)

    class Inner:
        def __eq__(self, other: object) -> bool:
            return type(other) is type(self)

        __hash__ = None


class Stateful:
    __slots__ = ("cache", "number")

    def __init__(self, number: int) -> None:
        self.number, self.cache = number, object()

    def __getstate__(self) -> int:
        return self.number

    def __setstate__(self, number: int) -> None:
        self.__init__(number)

    def __eq__(self, other: object) -> bool:
        return type(other) is Stateful and other.number == self.number

    __hash__ = None


class NoArguments(Exception):
    pass


class WithAttributes(Exception):
    """Its constructor takes what pickle gives it; all else is in its ``__dict__``."""

    def __init__(self, text: str, shot: str = "") -> None:
        super().__init__(text, shot)
        self.shot = shot
        self.frames: list[int] = []


class Words(str):
    __slots__ = ()


class Number(int):
    pass


class Items(list):
    pass


class Table(dict):
    pass


class Blob(bytes):
    pass


class WritableBlob(bytearray):
    pass


def double(value: Any) -> Any:
    return value * 2


def closure(factor: int) -> Callable[[int], int]:
    def scaled(value: int) -> int:
        return double(value) * factor

    return scaled


def over(grid: numpy.ndarray) -> Callable[[int], int]:
    return lambda value: int(grid.sum()) * value


def counting() -> Callable[[int], int]:
    def factorial(number: int) -> int:
        return number * factorial(number - 1) if number else 1

    return factorial


def with_attribute(error: BaseException, **attributes: Any) -> BaseException:
    vars(error).update(attributes)
    return error


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


STRUCTURED = numpy.dtype([("id", "<i4"), ("position", "<f8", (3,)), ("name", "U5"), ("raw", "S3")])
GRID = numpy.arange(24).reshape(4, 6)


def structured() -> numpy.ndarray:
    made = numpy.zeros(3, STRUCTURED)
    made["id"], made["position"], made["name"], made["raw"] = [1, 2, 3], 0.5, "é", b"ab"
    return made


def objects(*items: Any) -> numpy.ndarray:
    made = numpy.empty(len(items), object)
    made[:] = items
    return made


def masked() -> numpy.ma.MaskedArray:
    return numpy.ma.array([1, 2, 3], mask=[False, True, False], fill_value=-1)


def read_only(made: numpy.ndarray) -> numpy.ndarray:
    made.flags.writeable = False
    return made


UTC_PLUS_5_45 = timezone(timedelta(hours=5, minutes=45), "Kathmandu")
DTYPES = (
    "?", "i1", "u1", "<i2", ">i2", "<u4", ">u4", "<i8", "u8", "<f2", "<f4", ">f4", "<f8", ">f8", "g",
    "<c8", ">c16", "S7", "U7", "V5", "M8[ns]", "M8[D]", "m8[s]",
)  # fmt: skip

Make = Callable[[], Any]
VALUES: dict[str, Make] = {
    "none": lambda: None,
    "true": lambda: True,
    "ellipsis": lambda: ...,
    "not implemented": lambda: NotImplemented,
    "zero": lambda: 0,
    "a huge int": lambda: -(2**5000),
    "a float": lambda: 0.1,
    "minus zero": lambda: -0.0,
    "nan": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "a complex": lambda: complex(-0.0, 2),
    "an empty str": lambda: "",
    "unicode": lambda: "Größe 🎬 \0 \N{COMBINING ACUTE ACCENT}",
    "a lone surrogate": lambda: "a\ud800b",
    "the name of main": lambda: "__main__",
    "main named beside large bytes": lambda: ["__main__", bytes(70_000), bytearray(70_000)],
    "bytes": lambda: bytes(range(256)),
    "a bytearray": lambda: bytearray(range(256)),
    "an empty bytearray": bytearray,
    "a memoryview": lambda: memoryview(b"view"),
    "a memoryview of a bytearray": lambda: memoryview(bytearray(b"view")),
    "an empty memoryview": lambda: memoryview(b""),
    "a part of a memoryview": lambda: memoryview(bytes(range(256)))[10:20],
    "a large memoryview": lambda: memoryview(bytes(range(256)) * 1000),
    "an empty tuple": tuple,
    "a tuple": lambda: (1,),
    "a list": lambda: [1, "2", 3.0],
    "a set": lambda: {1, "two", (3,)},
    "an empty set": set,
    "a frozenset": lambda: frozenset({1, frozenset({2})}),
    "a dict with int keys": lambda: {1: "one", -2: "two", 0: None},
    "a dict with keys of every kind": lambda: {None: 0, True: 1, 2.5: 2, (1, 2): 3, b"k": 4, Colour.RED: 5, "k": 6},
    "a dict in its order": lambda: {"z": 1, "a": 2, "m": 3},
    "nested containers": lambda: {1: [({2, 3}, (), [[]], {}), {"deep": (b"", bytearray(b"x"), [frozenset()])}]},
    "a deep list": lambda: nested(200),
    "a range": lambda: range(3, 30, 3),
    "a slice": lambda: slice(1, None, -2),
    "an ordered dict": lambda: collections.OrderedDict([("b", 1), ("a", 2)]),
    "a default dict": lambda: collections.defaultdict(list, {"a": [1]}),
    "a counter": lambda: collections.Counter("hubnet"),
    "a deque": lambda: collections.deque([1, 2, 3], maxlen=3),
    "a chain map": lambda: collections.ChainMap({1: 2}, {3: 4}),
    "an array of the standard library": lambda: array.array("d", [1.0, -2.5]),
    "a pattern": lambda: re.compile(r"s\d+", re.IGNORECASE),
    "a date": lambda: date(2024, 2, 29),
    "a time": lambda: time(23, 59, 59, 999_999, timezone.utc, fold=1),
    "a duration": lambda: timedelta(-1, 2, 3),
    "a naive datetime": lambda: datetime(2024, 1, 1, 12),
    "a datetime in UTC": lambda: datetime(2024, 1, 1, tzinfo=timezone.utc),
    "a datetime with a named offset": lambda: datetime(2024, 1, 1, tzinfo=UTC_PLUS_5_45),
    "a datetime of a zone, the second of its hour": lambda: datetime(
        2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")
    ),
    "a decimal": lambda: Decimal("1.2300"),
    "a decimal that is no number": lambda: Decimal("-Infinity"),
    "a fraction": lambda: fractions.Fraction(-3, 7),
    "a path": lambda: pathlib.Path("/shots/s010/../é.exr"),
    "a foreign path": lambda: pathlib.PureWindowsPath("C:/shots"),
    "a uuid": lambda: uuid.UUID(int=2**127 + 1),
    "an address": lambda: ipaddress.ip_network("10.0.0.0/8"),
    "a namespace": lambda: types.SimpleNamespace(a=1, b=[2]),
    "a mapping proxy": lambda: types.MappingProxyType({"a": 1}),
    "an enum": lambda: Colour.RED,
    "an enum with a tuple": lambda: Colour.LIKE_RED,
    "an int enum": lambda: Priority.HIGH,
    "a str enum": lambda: Text.EXR,
    "a flag": lambda: Rights.READ | Rights.RUN,
    "an empty flag": lambda: Rights(0),
    "an int flag": lambda: Mode.FAST | Mode.FINE,
    "an int flag with a bit unknown": lambda: Mode(64),
    "a dataclass": lambda: Shot("s010", [1, 2]),
    "a frozen dataclass": lambda: Frozen(1, Frozen(2)),
    "a dataclass with slots": lambda: Slotted(1, Slotted(2)),
    "a frozen dataclass with slots": lambda: FrozenSlotted(1, FrozenSlotted(2)),
    "a named tuple": lambda: Point(1, [2]),
    "a typed named tuple": lambda: Sample(0.5, (1, 2)),
    "an instance": lambda: Plain(3),
    "an instance of a class in a class": Plain.Inner,
    "an instance with a state of its own": lambda: Stateful(3),
    "instances as keys": lambda: {Plain(1): {Plain(2), Plain(3)}},
    "a subclass of str": lambda: Words("words"),
    "a subclass of int": lambda: Number(7),
    "a subclass of list": lambda: Items([1, Items()]),
    "a subclass of dict": lambda: Table(a=Table()),
    "a subclass of bytes": lambda: Blob(b"blob"),
    "a large subclass of bytes": lambda: Blob(bytes(70_000)),
    "a large subclass of bytearray": lambda: WritableBlob(70_000),
    "an exception": lambda: ValueError("bad", 5),
    "an exception of the system": lambda: FileNotFoundError(2, "not there", "/shots"),
    "a unicode error": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    "an exception that ends programs": lambda: SystemExit(3),
    "an exception without arguments": NoArguments,
    "an exception with attributes of its class": lambda: with_attribute(WithAttributes("text", "s010"), frames=[1, 2]),
    "an exception with an attribute set from outside": lambda: with_attribute(KeyError("k"), hint={1: 2}),
    "exceptions in a list": lambda: [OSError(5, "io"), StopIteration(7)],
    "a class": lambda: Plain,
    "a class in a class": lambda: Plain.Inner,
    "a built-in class": lambda: dict,
    "the class of none": lambda: type(None),
    "a generic alias": lambda: dict[str, list[int]],
    "a function": lambda: double,
    "a built-in function": lambda: math.sqrt,
    "a method": lambda: Plain(3).plus,
    "a class method": lambda: Plain.made,
    "a partial": lambda: functools.partial(double, 5),
    "a partial with keywords": lambda: functools.partial(Shot, frames=[1]),
    "a partial of a partial": lambda: functools.partial(functools.partial(operator.add, 1), 2),
    "an item getter": lambda: operator.itemgetter(1, 2),
    "an array": lambda: numpy.arange(10),
    "an array of one": lambda: numpy.array([5]),
    "an array without dimensions": lambda: numpy.array(2.5),
    "an empty array": lambda: numpy.empty(0, "f4"),
    "an empty array of three dimensions": lambda: numpy.empty((3, 0, 2), "i2"),
    "an array in C order": lambda: numpy.ascontiguousarray(GRID),
    "an array in Fortran order": lambda: numpy.asfortranarray(GRID),
    "a large array in Fortran order": lambda: numpy.asfortranarray(numpy.arange(60_000.0).reshape(200, 300)),
    "a transposed array": lambda: GRID.T,
    "a strided view": lambda: GRID[::2, 1::2],
    "a view backwards": lambda: GRID[::-1, ::-1],
    "a large strided view": lambda: numpy.arange(200_000)[::2],
    "an array with swapped axes": lambda: numpy.arange(24).reshape(2, 3, 4).swapaxes(0, 1),
    "an array repeated without memory": lambda: numpy.broadcast_to(numpy.arange(3), (4, 3)),
    "a part of an array": lambda: GRID[1:3],
    "a structured array": structured,
    "a field of a structured array": lambda: structured()["position"],
    "a record array": lambda: structured().view(numpy.recarray),
    "an array of objects": lambda: objects(1, "two", [3], None, Plain(4)),
    "an array of arrays": lambda: objects(numpy.arange(3), numpy.zeros((2, 2))),
    "a masked array": masked,
    "a matrix of characters": lambda: numpy.array([["a", "bc"], ["é", ""]]),
    "a read-only array": lambda: read_only(numpy.arange(5)),
    "a scalar of numpy": lambda: numpy.float32(0.1),
    "a moment of numpy": lambda: numpy.datetime64("2024-02-29T12", "ms"),
    "a structured scalar": lambda: structured()[1],
    "a dtype": lambda: STRUCTURED,
    "arrays in containers": lambda: {"a": [numpy.arange(3), (numpy.ones((2, 2), ">f4"),)], 1: Shot("s", numpy.eye(2))},
    **{
        f"an array of {kind}": lambda kind=kind: numpy.array([0, 1, 100]).astype(kind)
        for kind in DTYPES
        if kind != "V5"
    },
    "an array of V5": lambda: numpy.array([b"abcde", b"12345"], "V5"),
}
"""What arrives equal and of the same type."""

USED: dict[str, tuple[Make, Callable[[Any], Any]]] = {
    "a lambda": (lambda: lambda value: value + 1, lambda it: it(2)),
    "a lambda with defaults": (lambda: lambda a, b=[1], *, c={2}: (a, b, c), lambda it: it(0)),
    "a closure": (lambda: closure(3), lambda it: it(7)),
    "a closure that names itself": (counting, lambda it: it(5)),
    "a closure over an array": (lambda: over(numpy.arange(5)), lambda it: it(2)),
    "a partial of a lambda": (lambda: functools.partial(lambda a, b: (a, b), b=2), lambda it: it(1)),
    "functions in containers": (lambda: {1: [closure(2), double]}, lambda it: (it[1][0](1), it[1][1](1))),
    "a class made in a function": (lambda: type("Made", (Plain,), {"more": lambda it: it.number * 2}), lambda it: it(4).more()),
    "an instance of such a class": (lambda: type("Made", (Plain,), {"x": 1})(5), lambda it: (it.plus(1), it.x)),
    "an iterator": (lambda: iter([1, 2, 3]), list),
    "a text buffer": (lambda: io.StringIO("text"), lambda it: it.read()),
    "a byte buffer": (lambda: io.BytesIO(b"bytes"), lambda it: it.read()),
}  # fmt: skip
"""What has no equality of its own, and what is done with it to see that it is the same."""


SIZED: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "a bytearray": bytearray,
    "a memoryview": memoryview,
    "a str": lambda noise: noise.hex()[: len(noise)],
    "a str of wide characters": lambda noise: noise.decode("latin-1").replace("a", "é").replace("z", "🎬"),
    "an array": lambda noise: numpy.frombuffer(noise, "u1").copy(),
    "an array of two dimensions": lambda noise: numpy.frombuffer(noise, "u1").reshape(1, -1).copy(),
}
"""What has a size: each made of as many bytes of noise, of which no part is like another."""


def sized(kind: str, size: int) -> Any:
    """A value of this kind and size, the same in every process."""
    return SIZED[kind](numpy.random.default_rng(size).bytes(size))


def difference(came: Any, expected: Any, where: str = "it") -> str:
    """Where two values differ, in words; empty when they do not."""
    if type(came) is not type(expected):
        return f"{where} is {type(came).__name__}, not {type(expected).__name__}"
    if isinstance(expected, numpy.ndarray):
        parts = _of_array(came), _of_array(expected)
        if not (expected.flags.c_contiguous or expected.flags.f_contiguous):  # arrives in one piece
            parts = tuple({**part, "in C order": None, "in Fortran order": None} for part in parts)
    else:
        parts = _parts(came), _parts(expected)
    if parts[0] is None:
        same = repr(came) == repr(expected) if isinstance(came, (float, complex)) else came == expected
        return "" if same else f"{where} is {_shown(came)}, not {_shown(expected)}"
    if list(parts[0]) != list(parts[1]):
        return f"{where} has the parts {list(parts[0])!r:.200}, not {list(parts[1])!r:.200}"
    told = (difference(parts[0][name], parts[1][name], f"{where}, {name}") for name in parts[0])
    return next(filter(None, told), "")


def _shown(value: Any) -> str:
    try:
        return f"{type(value).__name__} of {len(value)}: {value[:50]!r}"
    except (TypeError, KeyError):
        return f"{value!r:.200}"


def _of_array(value: numpy.ndarray) -> dict[str, Any]:
    made = {"dtype": value.dtype, "shape": value.shape}
    made |= {"in C order": value.flags.c_contiguous, "in Fortran order": value.flags.f_contiguous}
    if numpy.ma.isMA(value):
        made |= {"mask": numpy.ma.getmaskarray(value), "fill": value.fill_value, "base": value.data}
    if value.dtype.hasobject or value.dtype == "g":  # of its 16 bytes six are never written
        return {**made, **{str(at): item for at, item in enumerate(value.ravel().tolist())}}
    return {**made, "memory": value.tobytes()}


PARTS: tuple[tuple[Any, Callable[[Any], dict[str, Any]]], ...] = (
    (BaseException, lambda it: {"args": it.args, **vars(it)}),
    (functools.partial, lambda it: {"func": it.func, "args": it.args, "keywords": it.keywords}),
    (types.MethodType, lambda it: {"function": it.__func__, "of": it.__self__}),
    (operator.itemgetter, lambda it: {"reduced": it.__reduce__()}),
    (memoryview, lambda it: {"format": it.format, "shape": it.shape, "bytes": it.tobytes()}),
    (datetime, lambda it: {"said": it.isoformat(), "fold": it.fold, "name": it.tzname(), "zone": it.tzinfo}),
    ((Decimal, collections.deque, pathlib.PurePath), lambda it: {"said": repr(it)}),
    ((tuple, list), lambda it: {str(at): item for at, item in enumerate(it)}),
    (collections.defaultdict, lambda it: {"factory": it.default_factory, "items": list(it.items())}),
    (dict, lambda it: {"items": list(it.items())}),
)  # fmt: skip


def _parts(value: Any) -> dict[str, Any] | None:
    """What a value consists of, each in its place; None for one that only ``==`` can tell."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return next((parts(value) for kind, parts in PARTS if isinstance(value, kind)), None)

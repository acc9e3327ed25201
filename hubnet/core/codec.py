"""Values to bytes and back: the one room that knows pickle.

Pickle protocol 5 first; cloudpickle where pickle fails or the pickle names ``__main__``, which may mean another file on the
other side. Large bytes, memoryviews and arrays go out of band: they are written from and received into memory of their
own. A bytearray stays in the pickle: taken out, one that an argument refers to twice would arrive as two. Nothing here is
ever given bytes whose sender has not proved the secret.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

from hubnet.core import main_file
from hubnet.errors import NO, DecodeError, EncodeError

Buffer = bytes | bytearray | memoryview
LARGE = 1 << 16
_MAIN = b"main__"  # the end of both of its names
loads = pickle.loads  # for the two hot ways, which tell the failure as decode() does,
dumps = pickle.dumps  # and for values of these types, which are neither apart nor from another file:
PLAIN = frozenset((int, float, str, bool, type(None)))
_foreign: WeakKeyDictionary[type, tuple[main_file.Place, bytes]] = (
    WeakKeyDictionary()
)  # classes of others' ``__main__``
_MAY_BE_APART = frozenset((bytes, memoryview))


class _Apart:
    """A bytes object or memoryview on its way out of band."""

    def __init__(self, value: bytes | memoryview) -> None:
        self.value = value
        self.buffers: list[pickle.PickleBuffer] = []  # of each attempt to pickle it

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[[Any], Any], tuple[pickle.PickleBuffer]]:
        self.buffers.append(pickle.PickleBuffer(self.value))
        return (bytes if isinstance(self.value, bytes) else memoryview), (self.buffers[-1],)

    def let_go(self) -> None:
        """The pickle is made, or has failed."""
        if isinstance(self.value, memoryview):
            for buffer in self.buffers:
                buffer.release()


class _Buffers:
    """What a pickle leaves out: the large ones of its buffers.

    No memoryview may stay held by a PickleBuffer: where the collector finds both, in the frames of an error say, CPython
    before 3.11.9 and 3.12.3 crashes. So one that is an argument travels as itself, and is let go at the end.
    """

    def __init__(self, apart: Iterable[_Apart]) -> None:
        self._apart = apart
        self._taken: list[pickle.PickleBuffer] = []

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """As pickle's buffer_callback: whether this one is small, and stays in the pickle."""
        with memoryview(buffer) as view:
            small = view.nbytes < LARGE
        if not small:
            self._taken.append(buffer)
        return small

    def memory(self) -> list[memoryview]:
        """Of those that were taken, in their order."""
        if not self._taken:
            return []
        own: dict[int, memoryview] = {}
        for one in self._apart:
            if isinstance(one.value, memoryview):
                own |= dict.fromkeys(map(id, one.buffers), one.value)
        return [own.get(id(buffer)) or buffer.raw() for buffer in self._taken]


def _is_apart(value: object) -> bool:
    if isinstance(value, memoryview):
        return value.contiguous and value.ndim == 1 and value.format == "B"
    return type(value) is bytes and len(value) >= LARGE


def encode(value: Any) -> tuple[bytes, list[memoryview]]:
    """Pickle one value; returns the pickle and the buffers that travel beside it.

    Raises:
        EncodeError: neither pickle nor cloudpickle can.
    """
    if type(value) in _MAY_BE_APART and _is_apart(value):
        value = _Apart(value)
        return _encode(value, (value,))
    return _encode(value, ())


def _encode(value: Any, apart: Iterable[_Apart]) -> tuple[bytes, list[memoryview]]:
    buffers = _Buffers(apart)
    try:
        data = pickle.dumps(value, 5, buffer_callback=buffers.take)
    except Exception as error:
        return _encode_by_value(value, apart, error)
    else:
        return _encode_by_value(value, apart, None) if _names_main(data) else (data, buffers.memory())
    finally:
        for one in apart:
            one.let_go()


def _names_main(data: bytes) -> bool:
    return data.find(_MAIN) >= 0  # `in` raises and forgets a TypeError first


def _encode_by_value(value: Any, apart: Iterable[_Apart], first: Exception | None) -> tuple[bytes, list[memoryview]]:
    buffers = _Buffers(apart)
    try:
        return _dumps_by_value(value, buffers.take), buffers.memory()
    except Exception as error:
        reason = first or error
        raise EncodeError(f"{_kind(value)} cannot be pickled ({_why(reason)})") from error


def _dumps_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    file = io.BytesIO()
    _picklers()[0](file, 5, buffer_callback).dump(value)
    return file.getvalue()


@functools.cache
def _picklers() -> tuple[Any, Any]:
    """The one for values, and the one that it uses for classes of ``__main__``.

    Both are cloudpickle's, less three of its ways: it sends the text of an open file for the file, bytes for a memoryview,
    and a function of its own for a method. A class of ``__main__`` is sent with its place in the file, and by value for those
    who run another one; what comes home from there is our own class again.
    """
    import cloudpickle

    if spawned := sys.modules.get("__mp_main__"):  # cloudpickle knows ``__main__`` alone for what nobody can import
        cloudpickle.register_pickle_by_value(spawned)

    class ByValue(cloudpickle.CloudPickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, io.TextIOWrapper):
                raise TypeError("cannot pickle an open file")
            if type(obj) is memoryview:
                return view_of, (obj.tobytes(), obj.format, obj.shape)
            if type(obj) is MethodType and getattr(obj.__self__, obj.__name__, None) == obj:
                return getattr, (obj.__self__, obj.__name__)
            return super().reducer_override(obj)

    class ByPlace(ByValue):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type):
                if obj in _foreign:
                    return class_of_main, _foreign[obj]
                if place := main_file.place_of(obj):
                    file = io.BytesIO()
                    ByValue(file, 5).dump(obj)
                    return class_of_main, (place, file.getvalue())
            return super().reducer_override(obj)

    return ByPlace, ByValue


def class_of_main(place: main_file.Place, by_value: bytes) -> Any:
    """A class that ``__main__`` of the sender defines: our own, where this process runs the same file."""
    own = main_file.class_at(place)
    if own is not None:
        return own
    rebuilt = pickle.loads(by_value)
    _foreign[rebuilt] = place, by_value
    return rebuilt


def view_of(data: bytes, format_: str, shape: Sequence[int]) -> memoryview:
    """A memoryview as it was on the other side."""
    return memoryview(data).cast(format_, shape) if 0 not in shape else memoryview(data)  # type: ignore[call-overload]


def _why(reason: Exception) -> str:
    """A foreign exception in short, whatever its ``__str__`` does."""
    try:
        return f"{type(reason).__name__}: {reason!s:.500}"
    except Exception:
        return type(reason).__name__


def in_one_piece(value: Any) -> bytes:
    """Pickle a value with nothing beside it.

    Raises:
        EncodeError: neither pickle nor cloudpickle can.
    """
    data, buffers = encode(value)
    if not buffers:
        return data
    try:
        data = pickle.dumps(value, 5)
        if not _names_main(data):
            return data
    except Exception:  # as in encode(): by value then, which has just worked
        pass
    return _dumps_by_value(value)


def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, list[memoryview]]:
    """Pickle the arguments of a call.

    Raises:
        EncodeError: naming the argument that cannot travel.
    """
    made: dict[int, _Apart] = {}  # one for each value: what is the same stays the same over there
    if any(map(_is_apart, args)) or any(map(_is_apart, kwargs.values())):
        args = tuple(made.setdefault(id(value), _Apart(value)) if _is_apart(value) else value for value in args)
        kwargs = {
            name: made.setdefault(id(value), _Apart(value)) if _is_apart(value) else value
            for name, value in kwargs.items()
        }
    try:
        return _encode((args, kwargs), made.values())
    except EncodeError as error:
        named = [(f"argument {number}", value) for number, value in enumerate(args)]
        for name, value in [*named, *((f"argument {key!r}", value) for key, value in kwargs.items())]:
            try:
                _encode(value, made.values())
            except EncodeError as culprit:
                raise EncodeError(f"{name} cannot travel: {culprit}; send plain data, or a path to it") from error
        raise


def decode(data: Buffer, buffers: Sequence[Any] = (), *, ran: str = NO) -> Any:
    """Rebuild a value.

    Raises:
        DecodeError: the value's type cannot be imported or rebuilt here.
    """
    try:
        return pickle.loads(data, buffers=buffers) if buffers else pickle.loads(data)
    except Exception as error:
        raise DecodeError(cannot_rebuild(error), ran=ran) from error


def cannot_rebuild(error: Exception) -> str:
    """What a failed ``loads`` means."""
    return f"cannot be rebuilt here: {type(error).__name__}: {error}; is its module importable on both sides, in one version?"


def travels(value: Any) -> bytes | None:
    """The pickle of a value that survives a round trip here, or None."""
    try:
        data = in_one_piece(value)
        pickle.loads(data)
        return data
    except Exception:
        return None


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"

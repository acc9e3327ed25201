"""Values to bytes and back: the one room that knows pickle.

Pickle protocol 5 first; cloudpickle where pickle fails or the pickle names ``__main__``, which means another file on the
other side. Large bytes, memoryviews and arrays go out of band: they are written from and received into memory of their
own. A bytearray stays in the pickle: taken out, one that an argument refers to twice would arrive as two. Nothing here is
ever given bytes whose sender has not proved the secret.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from hubnet.errors import NO, DecodeError, EncodeError

Buffer = bytes | bytearray | memoryview
LARGE = 1 << 16
_MAIN = b"__main__"
loads = pickle.loads  # for the two hot ways, which tell the failure as decode() does,
dumps = pickle.dumps  # and for values of these types, which are neither apart nor from another file:
PLAIN = frozenset((int, float, str, bool, type(None)))
_MAY_BE_APART = frozenset((bytes, memoryview))


class _Apart:
    """A large bytes object or memoryview on its way out of band."""

    def __init__(self, value: bytes | memoryview) -> None:
        self._value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[[Any], Any], tuple[pickle.PickleBuffer]]:
        return (bytes if isinstance(self._value, bytes) else memoryview), (pickle.PickleBuffer(self._value),)


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
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    except Exception as error:
        return _encode_by_value(value, error)
    if _names_main(data):
        return _encode_by_value(value, None)
    return data, [buffer.raw() for buffer in buffers] if buffers else []


def _names_main(data: bytes) -> bool:
    return data.find(_MAIN) >= 0  # `in` raises and forgets a TypeError first


def _encode_by_value(value: Any, first: Exception | None) -> tuple[bytes, list[memoryview]]:
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = _dumps_by_value(value, buffers.append)
        return data, [buffer.raw() for buffer in buffers]
    except Exception as error:
        reason = first or error
        raise EncodeError(f"{_kind(value)} cannot be pickled ({_why(reason)})") from error


def _dumps_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    file = io.BytesIO()
    _by_value_pickler()(file, 5, buffer_callback).dump(value)
    return file.getvalue()


@functools.cache
def _by_value_pickler() -> Any:
    """cloudpickle's, less two of its ways: it sends the text of an open file for the file, and bytes for a memoryview."""
    import cloudpickle

    class ByValue(cloudpickle.CloudPickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, io.TextIOWrapper):
                raise TypeError("cannot pickle an open file")
            if type(obj) is memoryview:
                return view_of, (obj.tobytes(), obj.format, obj.shape)
            return super().reducer_override(obj)

    return ByValue


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
    if _is_apart(value):
        value = _Apart(value)
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
    if any(map(_is_apart, args)) or any(map(_is_apart, kwargs.values())):
        made: dict[int, _Apart] = {}  # one for each value: what is the same stays the same over there
        args = tuple(made.setdefault(id(value), _Apart(value)) if _is_apart(value) else value for value in args)
        kwargs = {
            name: made.setdefault(id(value), _Apart(value)) if _is_apart(value) else value
            for name, value in kwargs.items()
        }
    try:
        return encode((args, kwargs))
    except EncodeError as error:
        named = [(f"argument {number}", value) for number, value in enumerate(args)]
        for name, value in [*named, *((f"argument {key!r}", value) for key, value in kwargs.items())]:
            try:
                encode(value)
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

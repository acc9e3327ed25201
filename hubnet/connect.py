"""The connect decorator: a function that any peer may call."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from hubnet import peer as peers
from hubnet.core import main_file
from hubnet.core.connections import Connection, names_of
from hubnet.core.flags import Flag
from hubnet.core.identity import came, text, whole
from hubnet.core.selection import callers_of
from hubnet.core.targets import boolean, seconds
from hubnet.errors import ConfigError

Parameters = ParamSpec("Parameters")
Result_co = TypeVar("Result_co", covariant=True)
_TAKEN = ("peer", "timeout", "time_out")
_HERE = object()
_MOST_RUNS = 1_000_000
_ASYNC = 0x80  # inspect.CO_COROUTINE, without the 10 ms that inspect takes


class Connected(Protocol[Parameters, Result_co]):
    """A function as ``connect`` returns it: itself, and with ``peer=`` the same function over there."""

    connection: Connection

    @overload
    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result_co: ...

    @overload
    def __call__(self, *args: Any, peer: Any, timeout: float | None = None, **kwargs: Any) -> Result_co: ...


class ConnectedAsync(Protocol[Parameters, Result_co]):
    """An ``async def`` function as ``connect`` returns it: a coroutine here, and with ``peer=`` what it came to over there."""

    connection: Connection

    @overload
    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Coroutine[Any, Any, Result_co]: ...

    @overload
    def __call__(self, *args: Any, peer: Any, timeout: float | None = None, **kwargs: Any) -> Result_co: ...


class _Connects(Protocol):
    @overload
    def __call__(
        self, function: Callable[Parameters, Coroutine[Any, Any, Result_co]], /
    ) -> ConnectedAsync[Parameters, Result_co]: ...

    @overload
    def __call__(self, function: Callable[Parameters, Result_co], /) -> Connected[Parameters, Result_co]: ...


@overload
def connect(tag: Callable[Parameters, Coroutine[Any, Any, Result_co]]) -> ConnectedAsync[Parameters, Result_co]: ...


@overload
def connect(tag: Callable[Parameters, Result_co]) -> Connected[Parameters, Result_co]: ...


@overload
def connect(
    tag: str | None = None, *, idempotent: bool = False, limit: int | None = None, allow: Any = None
) -> _Connects: ...


def connect(tag: Any = None, *, idempotent: bool = False, limit: int | None = None, allow: Any = None) -> Any:
    """Register a function as a connection: callable here as before, and from any peer with ``peer=``.

    Args:
        tag: the name by which both ends match; the base64 of ``module.name`` by default. A function of ``__main__`` is
            also served under its file's module name.
        idempotent: running it twice does no harm, so a call that may have been lost is sent again.
        limit: most runs of it at once that others may have on this peer; what this peer calls itself is not counted.
        allow: whose calls are served: as `groups` of ``subscribe``, or a dict of its filters and of labels (see
            ``describe``), such as ``{"groups": "leads", "labels": {"tags": ["optix", "cuda"]}}``, where a list means any of
            its values; everybody's by default. It keeps mistakes out, not enemies: whoever has the secret may call itself by
            any group and label. What this peer calls itself is served.

    Returns:
        The function; called with ``peer=TARGET`` (and ``timeout=`` seconds for everything) it runs there. Without a timeout it
        may take as long as it likes, unless its peer is lost, or silent for HUBNET_SUSPECT (an hour). A call here may have a
        ``timeout=`` as well, which must be one, and bounds nothing: the function is simply run. An ``async def``
        function is one as before, for ``asyncio.iscoroutinefunction`` and from Python 3.12 on for ``inspect`` as well: a
        call here returns a coroutine. A call with ``peer=`` is the same for all: it waits, and returns the result itself.

    Raises:
        TypeError, ConfigError: not a plain function, a parameter name that hubnet takes for itself, or a bad option.
    """
    if callable(tag):
        return connect()(tag)
    if tag is not None:
        tag = text(tag, "connect(tag=…) takes a str or nothing")
    if tag == "":
        raise ConfigError("connect(tag=…): an empty tag; leave it out, or give it a name")
    boolean(idempotent, "connect(idempotent=…)")
    if limit is not None:
        limit = whole(limit, "connect(limit=…) takes None or a whole number", 1, _MOST_RUNS)
    callers = None if allow is None else callers_of(allow)

    def decorate(function: Callable[..., Any]) -> Any:
        _check(function)
        if (module := getattr(function, "__module__", None)) in main_file.NAMES:
            main_file.claim(module)
        name, aliases = names_of(function, tag)
        connection = Connection(name, function, idempotent=idempotent, limit=limit, allow=callers, aliases=aliases)
        peers.process_peer().add_connection(connection)
        peers.autostart()
        return callable_connection(function, connection)

    return decorate


def callable_connection(
    function: Callable[Parameters, Result_co], connection: Connection
) -> Connected[Parameters, Result_co]:
    """The function as its users call it."""

    @functools.wraps(function)
    def call(*args: Any, peer: Any = _HERE, timeout: Any = None, time_out: Any = None, **kwargs: Any) -> Any:
        if timeout is not None or time_out is not None:
            timeout = seconds(timeout) if time_out is None else one_timeout(timeout, time_out)
        if peer is not _HERE:
            return peers.call(connection, peer, args, kwargs, timeout)
        result: Any = function(*args, **kwargs)
        if type(result) is types.CoroutineType:
            return _answered_later(connection, result)
        return peers.Peer().answered_here(connection, result) if type(result) is Flag else result

    call.connection = connection  # type: ignore[attr-defined]
    if _is_async(function):
        _mark_async(call)
    return cast("Connected[Parameters, Result_co]", call)


def _is_async(function: Callable[..., Any]) -> bool:
    if type(function) is types.FunctionType:
        return bool(function.__code__.co_flags & _ASYNC)
    import inspect  # 10 ms: only who connects a partial or the like needs it

    return inspect.iscoroutinefunction(function)


def _mark_async(call: Any) -> None:
    """Tell frameworks that ask that a call here returns a coroutine; before Python 3.12 there is asyncio's mark alone."""
    if sys.version_info >= (3, 12):
        import inspect

        inspect.markcoroutinefunction(call)
    else:
        from asyncio import coroutines

        call._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]


async def _answered_later(connection: Connection, coroutine: types.CoroutineType[Any, Any, Any]) -> Any:
    """What a local call of an ``async def`` function comes to, which may be a flag."""
    result = await coroutine
    return peers.Peer().answered_here(connection, result) if type(result) is Flag else result


def one_timeout(timeout: Any, time_out: Any) -> float | None:
    """The seconds that a call was given, under either spelling.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if timeout is not None and time_out is not None:
        raise TypeError(f"timeout given twice: timeout={came(timeout)} and time_out={came(time_out)}")
    return seconds(timeout) if time_out is None else seconds(time_out, "time_out")


def _check(function: Any) -> None:
    if isinstance(function, (staticmethod, classmethod, property)) or not isinstance(
        function, (types.FunctionType, types.BuiltinFunctionType, functools.partial)
    ):
        raise TypeError(f"connect takes a function, not {came(function)}")
    for inner in _behind(function):
        _check_names(inner)
    code = getattr(function, "__code__", None)
    if code is None:
        bound = getattr(function, "__self__", None)
        if bound is not None and not isinstance(bound, types.ModuleType):
            raise TypeError(f"connect cannot serve the method {came(function)}: a peer has no instance for it")
        return
    where = str(getattr(function, "__qualname__", function))
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if names[:1] in {("self",), ("cls",)} and "." in where.rpartition("<locals>.")[2]:
        raise TypeError(f"connect cannot serve the method {where}: a peer has no instance for it; connect a function")


def _behind(function: Any) -> Iterator[Any]:
    """A function and those that get its arguments from it: what it wraps, what it is a partial of."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        if not hasattr(function, "connection"):  # of one connected already, the names are ours
            yield function
        function = function.func if isinstance(function, functools.partial) else getattr(function, "__wrapped__", None)


def _check_names(function: Any) -> None:
    code = getattr(function, "__code__", None)
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ():
        if name in _TAKEN:
            where = getattr(function, "__qualname__", function)
            raise ConfigError(f"{where}() has a parameter {name!r}, which hubnet takes for itself: rename it")

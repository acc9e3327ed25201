"""Running a call here: its context, the function, and the frame that answers."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from hubnet.core import calls, codec, frames
from hubnet.core.connections import Connection
from hubnet.core.flags import Flag
from hubnet.core.frames import Buffer
from hubnet.errors import DecodeError, EncodeError
from hubnet.links.link import Frame, Link


class Context(threading.local):
    """The call that this thread runs.

    Attributes:
        depth: of the call; -1 outside any.
        deadline: monotonic seconds, or None.
        peer: the peer that runs it.
        link: the link that it came by.
    """

    depth = -1
    deadline: float | None = None
    peer: Any = None
    link: Link | None = None


here = Context()


def run(peer: Any, link: Link, connection: Connection, frame: Frame, arrived: float) -> list[Buffer]:
    """Run one call; the pieces of its answer. Never raises."""
    pack = link.protection.pack
    try:
        args, kwargs = codec.decode(frame.body, frame.buffers)
    except DecodeError as error:
        return pack(frames.REFUSED, calls.refusal(calls.ARGUMENTS, f"an argument of {connection.tag!r} {error}"))
    outside = here.depth, here.deadline, here.peer, here.link
    here.depth, here.peer, here.link = frame.depth, peer, link
    here.deadline = arrived + frame.remaining / 1e6 if frame.remaining else None
    try:
        if peer.invoke is None or connection.builtin:
            result = connection.function(*args, **kwargs)
        else:
            result = peer.invoke(connection.function, args, kwargs)
    except BaseException as error:  # noqa: BLE001 - SystemExit in a function ends the call, not the peer
        return pack(frames.RAISED, _described(error))
    finally:
        here.depth, here.deadline, here.peer, here.link = outside
    if type(result) is Flag:
        return pack(frames.FLAG, result.name.encode())
    try:
        body, buffers = codec.encode(result)
        return pack(frames.RESULT, body, buffers=buffers)
    except EncodeError as error:
        return pack(frames.RAISED, _described(EncodeError(f"the result of {connection.tag!r} cannot travel: {error}")))


def _described(error: BaseException) -> bytes:
    kind = type(error)
    said = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": _safely(error),
        "traceback": "".join(traceback.format_exception(error)),
        "original": codec.travels(error),
    }
    return codec.encode(said)[0]


def _safely(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the error
        return "(its text cannot be had)"


class MainThread:
    """Runs calls on the main thread, for hosts that allow nothing else."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def invoke(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Have the main thread run a function; its result, or what it raised."""
        done = threading.Lock()
        done.acquire()
        outcome: list[Any] = [None, None]
        context = here.depth, here.deadline, here.peer, here.link

        def run_there() -> None:
            here.depth, here.deadline, here.peer, here.link = context
            try:
                outcome[0] = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
                outcome[1] = error
            finally:
                here.depth, here.deadline, here.peer, here.link = -1, None, None, None
                done.release()

        self._queue.put(run_there)
        done.acquire()
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def loop(self) -> None:
        """Run what is asked for until stopped."""
        while (work := self._queue.get()) is not None:
            work()

    def stop(self) -> None:
        """End the loop."""
        self._queue.put(None)

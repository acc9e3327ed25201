"""Running a call here: its context, the function, and the frame that answers."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain
from queue import SimpleQueue
from time import monotonic
from types import CoroutineType
from typing import Any

from hubnet.core import calls, codec, frames
from hubnet.core.codec import PLAIN, dumps, loads
from hubnet.core.connections import Connection, untagged
from hubnet.core.flags import Flag
from hubnet.core.frames import PLAIN_RESULT, SMALL, Buffer, Pieces
from hubnet.errors import YES, CallTimeout, EncodeError, RemoteError
from hubnet.links.context import NO_CALL, Call, here
from hubnet.links.link import Frame, Link

_LONGEST_MESSAGE = 4 << 10
_LONGEST_TRACEBACK = 32 << 10
_LARGEST_EXCEPTION = 1 << 30  # it travels in one piece, of which a sealed frame takes less than 2 GiB


def run(host: Any, link: Link, connection: Connection, frame: Frame, arrived: float) -> Pieces:
    """Run one call in its context; the pieces of its answer. Never raises."""
    outside = here.call
    here.call = Call(frame.depth, arrived + frame.remaining / 1e6 if frame.remaining else None, host.peer, link)
    try:
        invoke = None if connection.builtin else host.invoke
        answer = answer_to(link, connection, frame.body, frame.buffers, invoke)
        return chain((answer,)) if isinstance(answer, bytes) else answer
    finally:
        here.call = outside


def answer_to(
    link: Link,
    connection: Connection,
    body: Buffer,
    buffers: Sequence[Any] = (),
    invoke: Callable[..., Any] | None = None,
) -> bytes | Pieces:
    """Run a function on pickled arguments; its answer as one frame where it is small. Never raises."""
    protection = link.protection
    try:
        args, kwargs = loads(body, buffers=buffers) if buffers else loads(body)
    except Exception as error:
        said = calls.refusal(
            calls.ARGUMENTS, f"an argument of {untagged(connection.tag)!r} {codec.cannot_rebuild(error)}"
        )
        return protection.pack(frames.REFUSED, said)
    try:
        if invoke is not None:
            result = invoke(connection.function, args, kwargs)
        else:
            result = connection.function(*args, **kwargs) if kwargs else connection.function(*args)
    except BaseException as error:
        return protection.pack(frames.RAISED, _described(error, link.most))
    kind = type(result)
    if kind in PLAIN:
        data = dumps(result, 5)
        if len(data) < SMALL:
            return protection.small(PLAIN_RESULT, data)
    if kind is CoroutineType:
        try:
            result = awaited(result)
        except BaseException as error:
            return protection.pack(frames.RAISED, _described(error, link.most))
    if type(result) is Flag:
        return protection.pack(frames.FLAG, result.name.encode())
    try:
        data, apart = codec.encode(result)
        if apart or len(data) >= SMALL:
            if (size := len(data) + sum(buffer.nbytes for buffer in apart)) > link.most:
                raise EncodeError(f"it has {size} bytes, more than HUBNET_CALL_LIMIT={link.most}")
            return protection.pack(frames.RESULT, data, buffers=apart)
    except EncodeError as error:
        unsent = EncodeError(f"the result of {untagged(connection.tag)!r} cannot travel: {error}", ran=YES)
        return protection.pack(frames.RAISED, _described(unsent, link.most))
    return protection.small(PLAIN_RESULT, data)


def awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What an ``async def`` function comes to, on an event loop of its own."""
    import asyncio  # 60 ms: only who has such functions needs it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _awaited_elsewhere(coroutine)  # a coroutine called its own peer: this thread's loop waits for it


def _awaited_elsewhere(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The same on a thread of its own, which takes this one's place in the call."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    call = here.call

    def run_there() -> Any:
        here.call = call
        return asyncio.run(coroutine)

    with ThreadPoolExecutor(1, "hubnet-await") as thread:
        return thread.submit(run_there).result()


def _described(error: BaseException, most: int) -> bytes:
    """What the caller is told of an exception; of one that came from further away, the short text and the end of the story.

    A further call that ended with the caller's own deadline is told as that: it is what the caller waits for. An exception
    that is larger than a result may be stays here; what it says travels.
    """
    kind = type(error)
    message = error.args[0] if isinstance(error, RemoteError) else _safely(error)
    said: dict[str, Any] = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": str(message)[:_LONGEST_MESSAGE],
        "traceback": "".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:],
        "original": codec.travels(error),
        "late": isinstance(error, CallTimeout) and here.call.deadline is not None and monotonic() >= here.call.deadline,
    }
    data = codec.encode(said)[0]
    if len(data) <= min(most, _LARGEST_EXCEPTION):
        return data
    bound = f"HUBNET_CALL_LIMIT={most}" if most <= _LARGEST_EXCEPTION else f"the {_LARGEST_EXCEPTION} that may travel"
    note = f"(the exception itself is not here: it has {len(data)} bytes, more than {bound})"
    return codec.encode({**said, "message": f"{said['message']} {note}", "original": None})[0]


def _safely(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
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
        call = here.call

        def run_there() -> None:
            here.call = call
            try:
                result = function(*args, **kwargs)
                outcome[0] = awaited(result) if type(result) is CoroutineType else result
            except BaseException as error:
                outcome[1] = error
            finally:
                here.call = NO_CALL
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

    def wake(self) -> None:
        """Make the loop go round once, so that the main thread runs its signal handlers."""
        self._queue.put(_nothing)

    def stop(self) -> None:
        """End the loop."""
        self._queue.put(None)


def _nothing() -> None:
    """Work of no kind."""

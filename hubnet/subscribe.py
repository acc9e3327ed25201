"""The subscribe decorator: a handler for an event of other peers."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from hubnet.core import codec
from hubnet.core.channels import event_name
from hubnet.core.gap import Gap
from hubnet.core.identity import came, whole
from hubnet.core.selection import AllOf, Query, filter_of
from hubnet.core.targets import boolean, span, word
from hubnet.peer import _Peer, autostart, process_peer
from hubnet.tables import SubscriptionWish

if TYPE_CHECKING:
    from hubnet.bus.subscription import Subscription
    from hubnet.core.envelopes import Sender
    from hubnet.parts import Parts

_MOST_QUEUED = 1_000_000_000
Function = TypeVar("Function", bound=Callable[..., Any])


def subscribe(
    event: str,
    groups: Any = None,
    hubs_only: bool = False,
    peers: Any = None,
    on_host: bool | None = None,
    *,
    local: bool = False,
    since: float | str | None = None,
    on_gap: Callable[[Gap], Any] | None = None,
    queue: int = 200_000,
    overflow: str = "oldest",
) -> Callable[[Function], Function]:
    """Run a function here whenever a peer triggers an event. By default all peers are heard; filters combine.

    Args:
        event: the event's name.
        groups: a group's name, a peer (record, RemotePeer, id as bytes), a result of ``peers()``, or a list of these.
        hubs_only: hear hubs alone.
        peers: as `groups`, but a str is a peer id. A result of ``peers()`` means its query, kept live.
        on_host: hear peers of this machine alone.
        local: hear this peer's own events as well.
        since: durable events of that long ago and later come first, each once: seconds, or "90s", "5m", "2h", "1d".
        on_gap: called with a ``hubnet.Gap`` where events that this handler should have got are missing, between those before
            and after the hole, on the handler's thread.
        queue: most events that wait for this handler, apart from the one that it has (and at most 64 MiB of them).
        overflow: which go when more come: "oldest", or "newest".

    Returns:
        The function, unwrapped; it may be ``async def``. It gets the pair that the trigger returned. What it raises is
        logged and harms nobody. When the module that subscribes it is reloaded, its new text takes its place; so does a
        notebook's cell that is run again, for a handler of the same name.

    Raises:
        TypeError, ValueError, ConfigError: naming the parameter.
    """
    name = event_name(event)
    boolean(hubs_only, "hubs_only")
    boolean(local, "local")
    if on_host is not None:
        boolean(on_host, "on_host")
    queue = whole(queue, "queue is a number of events", 1, _MOST_QUEUED)
    overflow = word(overflow, 'overflow is "oldest" or "newest"', "oldest", "newest")
    if on_gap is not None and not callable(on_gap):
        raise TypeError(f"on_gap takes a function of one hubnet.Gap, not {came(on_gap)}")
    back = span(since, "since")
    wanted = AllOf((filter_of(groups, "groups"), filter_of(peers, "peers"), Query(hubs_only=hubs_only)))

    def decorate(function: Function) -> Function:
        if not callable(function):
            raise TypeError(f"subscribe({name!r:.100}) takes a function, not {came(function)}")

        def deliver(body: memoryview, sender: Sender) -> None:
            args, kwargs = codec.decode(body)
            result = function(*args, **kwargs)
            if type(result) is CoroutineType:
                from hubnet.links.running import awaited

                awaited(result)

        def make(peer: _Peer, parts: Parts) -> Subscription:
            from hubnet.bus.subscription import Subscription

            here = AllOf((wanted, Query(machine=parts.machine if on_host else None)))
            where = wanted.where()
            return Subscription(
                name, deliver, here,
                channels=None if where is None else frozenset(parts.names.event(group, name) for group in where),
                pattern=parts.names.event_everywhere(name) if where is None else None,
                counters=peer.counters, hears_itself=local, on_gap=on_gap, queue=queue, overflow=overflow, since=back,
            )  # fmt: skip

        process_peer().add_subscription(SubscriptionWish(name, make, function))
        autostart()
        return function

    return decorate

"""Who is meant: the filters of listings and subscriptions, as one question about a peer.

A filter is decided on what a record or a signed envelope says, never by asking anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from hubnet.core.identity import came, decode_id, group_name
from hubnet.core.labels import Wanted, are_there, wanted
from hubnet.core.targets import boolean, peer_id_of

DEEPEST = 8
"""Lists within lists in a filter: a few are how groups of peers are put together, more are a list that holds itself."""
MOST_GROUPS = 100_000
"""Names in one listing's filter: an iterator need not end."""


class Query(NamedTuple):
    """A filter over peers.

    Attributes:
        groups: names of groups, or None for all.
        hubs_only: hubs alone.
        machine: peers of this machine alone, or None.
        ids: these peers alone, or None.
        labels: peers alone that have these, by name; () for all.
    """

    groups: frozenset[str] | None = None
    hubs_only: bool = False
    machine: str | None = None
    ids: frozenset[bytes] | None = None
    labels: Wanted = ()

    def matches(self, *, peer_id: bytes, group: str, hub: bool, machine: str, labels: Any = None) -> bool:
        """Whether a peer of this description is meant."""
        return (
            (self.groups is None or group in self.groups)
            and (not self.hubs_only or hub)
            and (self.machine is None or machine == self.machine)
            and (self.ids is None or peer_id in self.ids)
            and (not self.labels or are_there(self.labels, labels))
        )

    def where(self) -> frozenset[str] | None:
        """The groups whose events can match, or None for any."""
        if self.ids is not None:
            groups = frozenset(decode_id(peer_id).group for peer_id in self.ids)
            return groups if self.groups is None else groups & self.groups
        return self.groups


class AnyOf(NamedTuple):
    """Peers that at least one of several filters means."""

    queries: tuple[Query | AnyOf | AllOf, ...]

    def matches(self, *, peer_id: bytes, group: str, hub: bool, machine: str, labels: Any = None) -> bool:
        """Whether a peer of this description is meant."""
        return any(
            query.matches(peer_id=peer_id, group=group, hub=hub, machine=machine, labels=labels)
            for query in self.queries
        )

    def where(self) -> frozenset[str] | None:
        """The groups whose events can match, or None for any."""
        places = [query.where() for query in self.queries]
        if any(place is None for place in places):
            return None
        return frozenset().union(*(place for place in places if place is not None))


class AllOf(NamedTuple):
    """Peers that every one of several filters means."""

    queries: tuple[Query | AnyOf | AllOf, ...]

    def matches(self, *, peer_id: bytes, group: str, hub: bool, machine: str, labels: Any = None) -> bool:
        """Whether a peer of this description is meant."""
        return all(
            query.matches(peer_id=peer_id, group=group, hub=hub, machine=machine, labels=labels)
            for query in self.queries
        )

    def where(self) -> frozenset[str] | None:
        """The groups whose events can match, or None for any."""
        places = [place for query in self.queries if (place := query.where()) is not None]
        return frozenset.intersection(*places) if places else None


def filter_of(wish: Any, parameter: str, depth: int = 0) -> Query | AnyOf:
    """The filter that a parameter of ``subscribe`` means.

    Args:
        wish: None for all; a str (a group in `groups`, a peer id in `peers`); bytes, a record or a RemotePeer for that peer; a
            result of ``peers()`` for its query; a list for any of its members, where None in `groups` is no group.
        parameter: "groups" or "peers".
        depth: of lists that it stands in.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if wish is None and not depth:
        return Query()
    try:
        query = getattr(wish, "query", None)
    except Exception:  # of a __getattr__ that is none of ours
        query = None
    if isinstance(query, Query):
        return query
    names_groups = parameter != "peers"
    if names_groups and (wish is None or isinstance(wish, str)):
        return Query(groups=frozenset((group_name(wish, parameter),)))
    if isinstance(wish, (list, tuple, set, frozenset)):
        if depth == DEEPEST:
            raise ValueError(f"{parameter}= takes lists at most {DEEPEST} deep, not {came(wish)}")
        return AnyOf(tuple(filter_of(member, parameter, depth + 1) for member in wish))
    rule = (
        f"{parameter}= takes a {'group' if names_groups else 'peer id'} (str), a peer id (bytes), a record, a "
        "RemotePeer, a result of hubnet.peers(), or a list of these;"
    )
    peer_id = peer_id_of(wish, rule)
    assert isinstance(peer_id, bytes)  # pairs are lists here
    peer_id_of(peer_id, rule)
    return Query(ids=frozenset((peer_id,)))


_FILTERS = frozenset(("groups", "hubs_only", "peers", "labels"))


def callers_of(wish: Any) -> Query | AnyOf | AllOf:
    """The filter that ``allow`` of ``connect`` means.

    Args:
        wish: as `groups` of ``subscribe``; or a dict of its filters ``groups``, ``hubs_only`` and ``peers``, and of ``labels``,
            which combine.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if not isinstance(wish, dict) or not set(wish) <= _FILTERS or not wish:
        return filter_of(wish, "connect(allow=…), allow")
    named = {**dict.fromkeys(("groups", "peers")), "hubs_only": False, **wish}
    hubs_only = Query(hubs_only=boolean(named["hubs_only"], "connect(allow={'hubs_only': …})"))
    labelled = Query(labels=wanted(wish["labels"], "connect(allow={'labels': …})") if "labels" in wish else ())
    return AllOf((filter_of(named["groups"], "groups"), filter_of(named["peers"], "peers"), hubs_only, labelled))


def group_names(groups: str | Iterable[str] | None, parameter: str = "groups") -> frozenset[str] | None:
    """The groups that a parameter names: None for all, a str for one, an iterable for several.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if groups is None:
        return None
    if isinstance(groups, str):
        return frozenset((group_name(groups, parameter),))
    rule = f"{parameter} is a group's name or a list of names, not {came(groups)}"
    if isinstance(groups, (bytes, bytearray, memoryview, dict)) or not isinstance(groups, Iterable):
        raise TypeError(rule)
    try:
        names = tuple(islice(groups, MOST_GROUPS + 1))
    except Exception as error:
        raise TypeError(rule) from error
    if len(names) > MOST_GROUPS:
        raise ValueError(f"{parameter} is a list of at most {MOST_GROUPS} names, not {came(groups)}")
    return frozenset(group_name(name, parameter) for name in names)

"""A network is cut, both ways or one way only, and heals: what each side says meanwhile, and who is there afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.networks.farm import Farm, Seen, differs, waits
from tests.waiting import eventually

AWAY = 6.0


def cut_worker_and_hub(farm: Farm, *, away: float = AWAY) -> Seen:
    """Neither hears the other; the two workers do, and their calls go on."""
    return _cut_from_hub(farm, away, "hub", "victim")


def cut_one_way(farm: Farm, *, away: float = AWAY) -> Seen:
    """The hub hears nothing of the worker, which hears the hub."""
    return _cut_from_hub(farm, away, "hub")


def cut_other_way(farm: Farm, *, away: float = AWAY) -> Seen:
    """The worker hears nothing of the hub, which hears the worker."""
    return _cut_from_hub(farm, away, "victim")


def _cut_from_hub(farm: Farm, away: float, *deaf: str) -> Seen:
    fault, log = time.monotonic(), len(farm.victim.said)
    _deafen(farm, ("hub", "victim"), deaf)
    farm.victim.send("ask", f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['hub']!r}, timeout=4))")
    gone = farm.unlisted("victim", fault)
    said, begin, ended = farm.victim.answer(60)
    broken = {
        "gone": farm.listed_all_the_while(fault, "hub", "caller"),
        "the call to the hub ends": "" if said[0] in {"PeerLost", "PeerUnreachable", "CallTimeout"} else repr(said),
        "each says whom": _each_says_whom(farm, "hub", "victim"),
    }
    known = farm.caller.ask(f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['victim']!r}, timeout=4))")
    broken["those that know each other call"] = differs(known[0], 1)
    hub = farm.places["hub"].address
    broken["the worker says why it is not registered"] = _later(lambda: _told_of(farm.victim.said[log:], hub))
    time.sleep(max(0.0, fault + away - time.monotonic()))
    healed = _heal(farm, "hub", "victim")
    whole = farm.whole()
    broken["healed"] = ("" if farm.works() else "no calls") or farm.doubles()
    return Seen({"gone": gone - fault, "the call to the hub ends": ended - begin, "healed": whole - healed}, broken)


def _told_of(log: str, address: str) -> bool:
    return any("not registered" in line and address in line for line in log.splitlines())


def cut_workers(farm: Farm, *, away: float = AWAY) -> Seen:
    """The two do not hear each other; the hub hears both, and lists both."""
    return _cut_workers(farm, away, "victim", "caller")


def cut_caller_deaf(farm: Farm, *, away: float = AWAY) -> Seen:
    """Who calls does not hear the one that is called, which hears it."""
    return _cut_workers(farm, away, "caller")


def cut_called_deaf(farm: Farm, *, away: float = AWAY) -> Seen:
    """Who is called does not hear the one that calls, which hears it."""
    return _cut_workers(farm, away, "victim")


def _cut_workers(farm: Farm, away: float, *deaf: str) -> Seen:
    call = f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['victim']!r}, timeout=4))"
    farm.caller.ask(call)
    waits(farm)
    fault = time.monotonic()
    _deafen(farm, ("victim", "caller"), deaf)
    said, _, lost = farm.caller.answer(60)
    again, begin, ended = farm.caller.ask(call, timeout=60)
    broken = {
        "PeerLost": differs(said, ("PeerLost", "MAYBE")),
        "the next call ends": "" if again in [("PeerUnreachable", "NO"), ("CallTimeout", "NO")] else repr(again),
        "each says whom": _each_says_whom(farm, "victim", "caller"),
    }
    notes = [_note(farm) for _ in range(2)]
    time.sleep(max(0.0, fault + away - time.monotonic()))
    broken["listed"] = farm.listed_all_the_while(fault, "hub", "victim", "caller")
    healed = _heal(farm, "victim", "caller")
    eventually(lambda: farm.caller.ask(call, timeout=30)[0] == 1, timeout=60)
    works = time.monotonic()
    notes += [_note(farm) for _ in range(2)]
    farm.whole()
    broken["healed"] = ("" if farm.works() else "no calls") or farm.doubles() or _lies(farm, notes)
    return Seen({"PeerLost": lost - fault, "the next call ends": ended - begin, "healed": works - healed}, broken)


def _deafen(farm: Farm, pair: tuple[str, str], deaf: tuple[str, ...]) -> None:
    """Those of the two hear nothing of the other one any more."""
    one, other = (farm.places[name] for name in pair)
    if pair[0] in deaf:
        one.deaf_to(other)
    if pair[1] in deaf:
        other.deaf_to(one)


def _heal(farm: Farm, *names: str) -> float:
    """They hear all again; from when on."""
    at = time.monotonic()
    for name in names:
        farm.places[name].hears_all()
    return at


def _each_says_whom(farm: Farm, one: str, other: str) -> str:
    """What is told of calls between two that are cut off names the one that is called, on both sides; "" if so."""
    for caller, called in ((one, other), (other, one)):
        call = f"text_of(lambda: hubnet.pass_through(1, peer={farm.ids[called]!r}, timeout=2))"
        said = getattr(farm, caller).ask(call, timeout=60)
        if farm.places[called].address not in said:
            return f"{caller} of {called}: {said}"
    return ""


def _later(check: Callable[[], bool]) -> str:
    try:
        eventually(check, timeout=30)
    except AssertionError as error:
        return str(error)
    return ""


_tokens = count()


def _note(farm: Farm) -> tuple[int, Any]:
    """A call that its peer notes, and its outcome."""
    token = next(_tokens)
    said, _, _ = farm.caller.ask(f"outcome(lambda: note({token}, peer={farm.ids['victim']!r}, timeout=2))", timeout=60)
    return token, said


def _lies(farm: Farm, notes: list[tuple[int, Any]]) -> str:
    """What ran more than once, or against its outcome."""
    ran = Counter(farm.victim.ask("ran"))
    wrong = [
        (token, said, ran[token])
        for token, said in notes
        if ran[token] > 1 or (said is None) > ran[token] or (said is not None and said[1] == "NO" and ran[token])
    ]
    return f"ran otherwise: {wrong}" if wrong else ""

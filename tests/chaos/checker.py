"""The checker: what the ledgers of a run say against hubnet's promises. It reads lines and returns findings, no more.

A finding is a broken promise. What a ledger cannot tell (whether a call with outcome MAYBE ran, what sat in the outbox of
somebody who was killed) is no finding; what it can tell is asked of every single call and event. Calls, the register and what
stays open are looked at here, events in ``accounts``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator

from . import accounts
from .facts import Facts, Finding, Span
from .ledger import Line

SLACK = 6.0
"""Seconds that a wait may take beyond its deadline: the machine is oversubscribed, and the test is not of its scheduler."""
ENDLESS = 45.0
"""Seconds within which a call without a deadline ends: nothing that is called takes long, and everything heals."""
AFTERMATH = 6.0
"""Seconds after a blow in which the register may still speak of it: a machine that vanished is gone within five."""
WRONG = frozenset({
    "AuthenticationError", "LocalProtocolError", "RemoteProtocolError", "ConfigError", "EncodeError", "DecodeError",
    "InvalidConnection", "NotAllowed", "UnknownFlag",
})  # fmt: skip
"""Errors that blame what nobody did here: all have one secret, one version and the same connections."""
ANSWERED = frozenset({"ok", "listed", "RemoteError"})
HASTY = 1.0
"""Seconds: who gives less may get none in peace either, on a busy machine."""
GROWTH = 0.1
"""What a process may have more at the end than before the storm ..."""
ALLOWED = {"threads": 2, "files": 3, "rss": 0, "used": 0}
"""... and this: a thread that just ends, a dial under way."""
MOST_SERVING = 20
"""Threads that serve, or did a moment ago: 16 calls at most run at once."""
MOST_TO_REDIS = {"hub": 16 + 5, "worker": 5, "caller": 5}
"""For events that go and come, durable ones that go and are read; and a hub's, over which it asks the register."""
MOST_LINKS = 200
"""To and from some ten others, of which each has a handful of threads that call at once."""
_SORTED = {"threads": "named", "files": "sorts"}
_CUTS = ("freeze", "freeze-answers", "lose-answers", "refuse")


def check(lines: Iterable[Line], *, slack: float = SLACK) -> list[Finding]:
    """All that is wrong in the ledgers of a run."""
    facts = Facts(lines)
    return [
        *_outcomes(facts, slack), *_waits(facts, slack), *_peace(facts), *_honesty(facts), *accounts.check(facts),
        *_presence(facts), *_whole_again(facts), *_back_where_it_was(facts), *_lives(facts),
    ]  # fmt: skip


# -- calls -------------------------------------------------------------------------------------------------------------


def _outcomes(facts: Facts, slack: float) -> Iterable[Finding]:
    ends = Counter(line["n"] for line in facts.of["end"])
    for call in facts.of["call"]:
        number = ends[call["n"]]
        if number > 1:
            yield Finding("one outcome per call", f"{call['n']} has {number}")
        how = facts.ends.get(call["life"], {}).get("how")
        died = how == "kill" or (how == "stop" and call["nested"])  # a drain ends after its grace
        if number == 0 and (not died or _is_late(facts, call, facts.ends[call["life"]]["sent"], slack)):
            yield Finding(
                "every wait ends", f"{call['n']}, called at {call['t']:.3f} by {call['life']}, has no outcome"
            )
    nested = {call["n"] for call in facts.of["call"] if call["nested"]}  # whoever makes these may be told to stop
    for end in facts.of["end"]:
        if end["ran"] not in {"NO", "MAYBE", "YES"}:
            yield Finding("every error is one of hubnet's", f"{end['n']}: {end['how']}: {end['text']}")
        if end["how"] in WRONG and end["n"] not in nested:
            yield Finding("nobody is blamed for what he did not", f"{end['n']}: {end['how']}: {end['text']}")
        if not end["right"]:
            yield Finding("an answer is that of its own call", f"{end['n']}: {end['text']}")


def _waits(facts: Facts, slack: float) -> Iterable[Finding]:
    calls = {call["n"]: call for call in facts.of["call"]}
    for end in facts.of["end"]:
        call = calls[end["n"]]
        if _is_late(facts, call, end["t"], slack):
            yield Finding(
                "every wait ends in time",
                f"{end['n']} took {end['t'] - call['t']:.2f} s with timeout {call['timeout']}: {end['how']} {end['text']}",
            )


def _is_late(facts: Facts, call: Line, moment: float, slack: float) -> bool:
    """Whether a call should have ended before this moment; seconds in which its caller itself was stopped are not its wait."""
    took = moment - call["t"]
    allowed = slack + (ENDLESS if call["timeout"] is None else call["timeout"])
    return took > allowed and took > allowed + facts.stood_still(facts.name(call["life"]), call["t"], moment)


def _peace(facts: Facts) -> Iterable[Finding]:
    for call, end in in_peace(facts):
        if end["how"] not in ANSWERED:
            yield Finding("in peace calls are answered", f"{end['n']} to {call['to']}: {end['how']}: {end['text']}")


def in_peace(facts: Facts) -> Iterator[tuple[Line, Line]]:
    """Calls that had a second and nothing in their way, with their ends: they are answered."""
    calls = {call["n"]: call for call in facts.of["call"]}
    storms = [(float("-inf"), float("-inf")), *facts.storms(AFTERMATH)]
    for end in facts.of["end"]:
        call = calls[end["n"]]
        hasty = call["timeout"] is not None and call["timeout"] < HASTY
        _, over = storms[bisect_right(storms, (end["t"], float("inf"))) - 1]
        if not hasty and over < call["t"]:
            yield call, end


def _honesty(facts: Facts) -> Iterable[Finding]:
    ran = Counter(line["n"] for line in facts.of["ran"])
    done = Counter(line["n"] for line in facts.of["done"])
    idempotent = {call["n"] for call in facts.of["call"] if call["idempotent"]}
    for end in facts.of["end"]:
        told = f"{end['n']}: {end['how']}: {end['text']}"
        if end["ran"] == "NO" and ran[end["n"]]:
            yield Finding("what did not run did not run", told)
        if end["ran"] == "YES" and not ran[end["n"]]:
            yield Finding("what ran did run", told)
        if end["how"] == "ok" and not done[end["n"]]:
            yield Finding("a result is that of a function that ended", told)
    for number, times in ran.items():
        if times > 1 and number not in idempotent:
            yield Finding("nothing runs twice", f"{number} ran {times} times")


# -- the register --------------------------------------------------------------------------------------------------------


def _presence(facts: Facts) -> Iterable[Finding]:
    """`left` once for each life that ended; and for nobody who lives, unless others were cut off from it."""
    lives = facts.lives()
    spent: set[str] = set()
    for line in sorted(facts.of["presence"], key=lambda line: float(line["t"])):
        if line["news"] != "left" or line["id"] not in lives:
            continue
        mine = lives[line["id"]]
        ended = [life for life in mine if life in facts.ends and facts.ends[life]["sent"] <= line["t"]]
        unspent = [life for life in ended if life not in spent]
        if unspent:
            spent.add(
                max(unspent, key=lambda life: facts.ends[life]["sent"])
            )  # those before it may never have been told
        elif not any(_near(span, line["t"], facts.name(mine[0]), _CUTS) for span in facts.spans):
            promise = "left is told once" if ended else "nobody who lives has left"
            yield Finding(promise, f"{facts.name(mine[0])} at {line['t']:.3f}, lives {mine}")
    for mine in lives.values():
        for life in mine:
            if life not in spent and _must_be_told(facts, life, mine):
                yield Finding("left is told", f"{life}, which ended at {facts.ends[life]['t']:.3f}")


def told_to_all(facts: Facts) -> int:
    """Lives whose end cannot but have been told."""
    return sum(_must_be_told(facts, life, mine) for mine in facts.lives().values() for life in mine)


def _near(span: Span, moment: float, name: str, kinds: tuple[str, ...]) -> bool:
    return span.kind in kinds and name in span.names and span.begin <= moment <= span.end + AFTERMATH


def _must_be_told(facts: Facts, life: str, namesakes: list[str]) -> bool:
    """Whether the end of a life cannot but have been told: nobody took its place, and nothing was in the way."""
    if life not in facts.births or life not in facts.ends or facts.ends[life]["t"] + AFTERMATH > facts.healed:
        return False
    begin, end = facts.ends[life]["sent"] - AFTERMATH / 2, facts.ends[life]["t"] + AFTERMATH
    if any(facts.ends[life]["sent"] < facts.births[other]["t"] < end for other in namesakes if other in facts.births):
        return False
    if any(begin < line["t"] < end for line in facts.of["deaf"]):
        return False
    name = facts.name(life)
    return not any(
        span.begin < end and begin < span.end and ("hub" in span.kind or "redis" in span.kind or _cut_off(span, name))
        for span in facts.spans
    )


def _cut_off(span: Span, name: str) -> bool:
    return span.kind in _CUTS and (name in span.names or any(one.startswith("h") for one in span.names))


def _whole_again(facts: Facts) -> Iterable[Finding]:
    """After the last blow everybody lists everybody, and calls everybody."""
    there = facts.survivors("hub", "worker", "caller")
    listings = {line["life"]: line for line in facts.of["listing"] if line["t"] > facts.healed}
    reached = {(line["life"], line["to"]): line for line in facts.of["reached"] if line["t"] > facts.healed}
    for life in there:
        if life not in listings:
            yield Finding("all list all", f"{life} has no last listing")
            continue
        wrong = _wrong_in(listings[life]["listed"], {facts.births[one]["id"]: one for one in there if one != life})
        if wrong:
            yield Finding("all list all", f"{life}: {wrong}; {listings[life]['text']}")
        for other in there:
            line = reached.get((life, facts.births[other]["id"]))
            if other != life and (line is None or not line["ok"]):
                yield Finding("all call all", f"{life} to {other}: {line['text'] if line else 'not tried'}")


def _wrong_in(listed: dict[str, str], wanted: dict[str, str]) -> str:
    missing = [life for peer_id, life in wanted.items() if peer_id not in listed]
    ghosts = [peer_id for peer_id in listed if peer_id not in wanted]
    not_open = [
        f"{life} is {listed[peer_id]}" for peer_id, life in wanted.items() if listed.get(peer_id, "open") != "open"
    ]
    parts = [f"{what} {which}" for what, which in (("without", missing), ("ghosts", ghosts), ("", not_open)) if which]
    return ", ".join(parts)


def _back_where_it_was(facts: Facts) -> Iterable[Finding]:
    """Whatever broke, was cut or ended during the storm has left nothing open, and no memory taken."""
    looks = [{**opened, **weighed} for opened, weighed in zip(facts.of["open"], facts.of["weighed"], strict=True)]
    before = {facts.name(look["life"]): look for look in looks if look["when"] == "before"}
    after = {look["life"]: look for look in looks if look["when"] == "after"}
    for life in facts.survivors():
        if life not in after or facts.name(life) not in before:
            yield Finding("what ended is closed", f"{life} did not say what is open, before the storm or after it")
            continue
        was, now = before[facts.name(life)], after[life]
        if now["serving"] > MOST_SERVING:
            yield Finding("what ended is closed", f"{life} has {now['serving']} threads that serve")
        if now["links"] > MOST_LINKS:
            yield Finding("what ended is closed", f"{life} has {now['links']} links")
        if now["to_redis"] > MOST_TO_REDIS[facts.births[life]["role"]]:
            yield Finding("what ended is closed", f"{life} has {now['to_redis']} connections to Redis")
        for what, allowed in ALLOWED.items():
            kept = ("links", "to_redis") if what == "files" else ()  # for the next call, or the next question
            then, there = (look[what] - sum(look[one] for one in kept) for look in (was, now))
            if there > then * (1 + GROWTH) + allowed:
                more = f"{was[_SORTED[what]]}, now {now[_SORTED[what]]}" if what in _SORTED else ""
                text = f"{life} has {there} {what}, and before the storm it had {then}: {more}"
                yield Finding("what ended is closed", text)


def _lives(facts: Facts) -> Iterable[Finding]:
    for line in facts.of["ended"]:
        if line["how"] not in {"kill", "stop", "end"}:
            yield Finding("nobody dies by itself", f"{line['whose']}: {line['how']} {line['code']}: {line['text']}")
    for line in facts.of["trace"]:
        yield Finding("no defect in a log", f"{line['whose']}: {line['text']}")
    if facts.healed == float("inf"):
        yield Finding("all heals", "the run never came to its end")

"""The checker is checked: a run without fault has no findings, and ledgers that break one promise each are found out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from .checker import check
from .ledger import Ledger, Line, read

DROPPED = {"events_dropped_outbox": 1, "events_dropped_durable": 1}
IDS = {"h1-1": "H", "w1-2": "W1", "w2-3": "W2", "c1-4": "C"}
ROLES = {"h": "hub", "w": "worker", "c": "caller"}


def line(life: str, t: float, what: str, **about: Any) -> Line:
    return {"life": life, "t": t, "what": what, **about}


def call(n: str, t: float, *, timeout: float | None = 2.0, idempotent: bool = False, life: str = "c1-4") -> Line:
    return line(life, t, "call", n=n, to="W1", timeout=timeout, idempotent=idempotent, nested=False)


def end(n: str, t: float, how: str = "ok", ran: str = "YES", *, right: bool = True, life: str = "c1-4") -> Line:
    return line(life, t, "end", n=n, how=how, ran=ran, right=right, text="")


def looked(life: str, t: float, when: str, *, links: int = 10, files: int = 35) -> list[Line]:
    return [
        line(
            life, t, "open", when=when, files=files, links=links, threads=20, serving=3, named={}, to_redis=5, sorts={}
        ),
        line(life, t, "weighed", when=when, rss=40 << 20, used=20 << 20),
    ]


def good() -> list[Line]:
    """A small run: one worker killed and followed by another on its address, one event lost and counted, none of the durable."""
    lines = [line(life, 1.0, "born", name=life[:2], role=ROLES[life[0]], id=peer_id) for life, peer_id in IDS.items()]
    lines += [
        call("ok", 2.0), line("w1-2", 2.1, "ran", n="ok"), line("w1-2", 2.2, "done", n="ok"), end("ok", 2.3),
        call("raised", 2.3), line("w1-2", 2.4, "ran", n="raised"), end("raised", 2.5, "RemoteError", "YES"),
        call("lost", 2.6), line("w1-2", 2.7, "ran", n="lost"), end("lost", 3.1, "PeerLost", "MAYBE"),
        call("none", 3.2), end("none", 3.3, "PeerUnreachable", "NO"),
        call("again", 3.4, idempotent=True, timeout=None),
        line("w1-2", 3.5, "ran", n="again"), line("w2-3", 3.6, "ran", n="again"),
        line("w2-3", 3.7, "done", n="again"), end("again", 3.8),
        line("run", 3.0, "blow", number=0, kind="kill-worker", targets=["w1"]),
        line("run", 3.01, "ended", whose="w1-2", sent=3.0, how="kill", code=-9, text=""),
        line("eye-9", 3.2, "presence", news="left", id="W1"),
        line("w1-5", 4.0, "born", name="w1", role="worker", id="W1"),
        line("run", 4.1, "over", number=0),
        line("run", 20.0, "healed"),
    ]  # fmt: skip
    lines += [line("c1-4", 1.5, "hears")]
    for event, heard in (("beat", (1, 2, 4, 5)), ("kept", range(6))):
        lines += [line("w2-3", n / 10 + (1.4 if n == 0 else 2), "pub", event=event, n=n) for n in range(6)]
        lines += [line("c1-4", 2 + n / 10, "heard", event=event, of="w2-3", n=n) for n in heard]
        lines += [line("w2-3", 21.0, "last", event=event, n=5)]
        lines += [line("w1-2", 2.0 + n / 10, "pub", event=event, n=n) for n in range(9)]
        lines += [line("c1-4", 2.0 + n / 10, "heard", event=event, of="w1-2", n=n) for n in range(7)]
    lines += [
        line("w1-2", 2.65, "acked", beat=6, kept=6, dropped=0, dropped_durable=0),
        line("w2-3", 2.6, "acked", beat=5, kept=5, dropped=0, dropped_durable=0),
        line("w2-3", 23.0, "counters", events_published=14, events_sent_again=2),
        *[line(life, 23.0, "counters") for life in ("h1-1", "c1-4", "w1-5")],
        line("c1-4", 23.0, "gap", event="beat", of="W2", lost=1, reason="lost"), line("c1-4", 23.0, "stats", lost=1, dropped=0),
    ]  # fmt: skip
    there = {life: peer_id for life, peer_id in {**IDS, "w1-5": "W1"}.items() if life != "w1-2"}
    for life in there:
        lines += [
            *looked(life if life != "w1-5" else "w1-2", 1.6, "before"), *looked(life, 23.0, "after", links=60, files=85),
        ]  # fmt: skip
        others = [peer_id for one, peer_id in there.items() if one != life]
        lines.append(line(life, 22.0, "listing", listed=dict.fromkeys(others, "open"), text=""))
        lines += [line(life, 22.1, "reached", to=peer_id, ok=True, text="") for peer_id in others]
    lines += [line("run", 24.0, "ended", whose=life, sent=23.9, how="end", code=0, text="") for life in there]
    return lines


def found(lines: list[Line]) -> set[str]:
    return {finding.promise for finding in check(lines)}


def test_a_run_that_kept_all_promises_has_no_findings():
    assert check(good()) == []


def test_ledgers_are_read_as_they_were_written(tmp_path):
    one, other = Ledger(tmp_path / "w1-2.jsonl"), Ledger(tmp_path / "c1-4.jsonl")
    one.write("ran", n="ä")
    other.write("call", n="ä", timeout=None)
    one.write("done", n="ä")
    assert [(line["life"], line["what"]) for line in read(tmp_path)] == [
        ("c1-4", "call"),
        ("w1-2", "ran"),
        ("w1-2", "done"),
    ]
    assert all(line["n"] == "ä" for line in read(tmp_path))


def add(*more: Line) -> Callable[[list[Line]], None]:
    return lambda lines: lines.extend(copy.deepcopy(more))


def drop(**about: Any) -> Callable[[list[Line]], None]:
    """Leave out the lines of which all this is true; there must be some."""

    def forge(lines: list[Line]) -> None:
        kept = [line for line in lines if any(line.get(key) != value for key, value in about.items())]
        assert len(kept) < len(lines)
        lines[:] = kept

    return forge


def alter(change: dict[str, Any], **about: Any) -> Callable[[list[Line]], None]:
    """Change the lines of which all this is true; there must be some."""

    def forge(lines: list[Line]) -> None:
        meant = [line for line in lines if all(line.get(key) == value for key, value in about.items())]
        assert meant
        for line in meant:
            line.update(change)

    return forge


def both(*forgeries: Callable[[list[Line]], None]) -> Callable[[list[Line]], None]:
    def forge(lines: list[Line]) -> None:
        for each in forgeries:
            each(lines)

    return forge


def ten_thousand(lines: list[Line]) -> None:
    """The second worker triggers many more, of which the last one alone is heard; none is counted."""
    of_it = [line for line in lines if line["what"] in {"pub", "heard"} and line.get("event") == "beat"]
    for each in of_it:
        if "w2-3" in {each["life"], each.get("of")}:
            lines.remove(each)
    lines += [line("w2-3", 2.0 + n / 10_000, "pub", event="beat", n=n) for n in range(10_000)]
    lines += [line("c1-4", 3.0, "heard", event="beat", of="w2-3", n=9999)]
    alter({"n": 9999}, what="last", event="beat")(lines)
    alter({"beat": 9999}, what="acked", life="w2-3")(lines)
    alter({"events_published": 10_008}, what="counters", life="w2-3")(lines)
    both(drop(what="gap"), alter({"lost": 0}, what="stats"))(lines)


FORGED = {
    "two outcomes": ("one outcome per call", add(end("ok", 2.4))),
    "no outcome": ("every wait ends", drop(what="end", n="none")),
    "no outcome in a nested call of one that lives": (
        "every wait ends", add({**call("in", 5.0, life="w1-5"), "nested": True}),
    ),
    "an error of nobody's": ("every error is one of hubnet's", alter({"ran": None, "how": "KeyError"}, what="end", n="lost")),
    "a wrong secret": ("nobody is blamed for what he did not", alter({"how": "AuthenticationError"}, what="end", n="none")),
    "another call's answer": ("an answer is that of its own call", alter({"right": False}, what="end", n="ok")),
    "an end long after the deadline": ("every wait ends in time", alter({"t": 12.7}, what="end", n="none")),
    "an end long after, of a call without a deadline": ("every wait ends in time", alter({"t": 60.0}, what="end", n="again")),
    "a wait that death alone ended": (
        "every wait ends", both(
            add(line("c1-3", 1.0, "born", name="c1", role="caller", id="C"), call("pending", 1.1, timeout=0.2, life="c1-3")),
            add(line("run", 18.1, "ended", whose="c1-3", sent=18.1, how="kill", code=-9, text="")),
        ),
    ),
    "NO, and it ran": ("what did not run did not run", add(line("w2-3", 3.3, "ran", n="none"))),
    "NO, and it ran, though idempotent": (
        "what did not run did not run", alter({"ran": "NO", "how": "PeerUnreachable"}, what="end", n="again"),
    ),
    "a result, and it did not run": ("what ran did run", drop(what="ran", n="ok")),
    "YES, and it did not run": ("what ran did run", drop(what="ran", n="raised")),
    "a result before the function ended": ("a result is that of a function that ended", drop(what="done", n="ok")),
    "twice on one worker": ("nothing runs twice", add(line("w1-2", 2.15, "ran", n="ok"))),
    "twice on two workers": ("nothing runs twice", add(line("w2-3", 2.9, "ran", n="lost"))),
    "an event twice": ("no event comes twice", add(line("c1-4", 5.0, "heard", event="beat", of="w2-3", n=5))),
    "a durable event twice": ("no event comes twice", add(line("c1-4", 5.0, "heard", event="kept", of="w2-3", n=5))),
    "an event late": ("events come in order", add(line("c1-4", 5.0, "heard", event="beat", of="w2-3", n=3))),
    "a hole nobody counted": (
        "every missing event is counted", both(drop(what="gap"), alter({"lost": 0}, what="stats")),
    ),
    "a count of more than there was": (
        "every missing event is counted", both(alter({"lost": 7}, what="stats"), alter({"lost": 7}, what="gap")),
    ),
    "a hole that was counted as one of another publisher": ("every missing event is counted", alter({"of": "W1"}, what="gap")),
    "a hole of which on_gap was not told": ("on_gap is told of every loss", drop(what="gap")),
    "a full queue of which on_gap was not told": ("on_gap is told of every loss", alter({"dropped": 2}, what="stats")),
    "nothing of all before one was heard": (
        "every event is accounted for", drop(what="heard", event="beat", of="w2-3", n=1),
    ),
    "only the last of ten thousand heard": ("every event is accounted for", ten_thousand),
    "the last before a kill, which Redis had taken": (
        "every event is accounted for", drop(what="heard", event="beat", of="w1-2", n=6),
    ),
    "a durable event in between": (
        "durable events come", both(
            drop(what="heard", event="kept", of="w2-3", n=3), alter({"lost": 2}, what="stats"),
            add(line("c1-4", 22.0, "gap", event="kept", of="W2", lost=1, reason="lost")),
        ),
    ),
    "a durable event, the first to come after a cut": (
        "durable events come", both(
            drop(what="heard", event="kept", of="w2-3", n=1), drop(what="heard", event="kept", of="w2-3", n=0),
            add(line("c1-4", 2.2, "cut")),
        ),
    ),
    "the last durable one before a kill, which Redis had taken": (
        "durable events come", both(drop(what="heard", event="kept", of="w1-2", n=6), add(line("c1-4", 2.7, "cut"))),
    ),
    "an event that Redis did not take and nobody dropped": (
        "every event is acknowledged, or dropped with a count", alter({"events_published": 13}, what="counters", life="w2-3"),
    ),
    "an event sent again and counted as another": (
        "every event is acknowledged, or dropped with a count", alter({"events_sent_again": 1}, what="counters", life="w2-3"),
    ),
    "a durable event of one that was killed, and Redis forgot it long after": (
        "durable events come", both(
            drop(what="heard", event="kept", of="w1-2", n=5), alter({"lost": 2}, what="stats"),
            add(line("c1-4", 23.0, "gap", event="kept", of="W2", lost=1, reason="lost")),
            add(line("run", 15.0, "blow", number=7, kind="forget-redis", targets=["redis"]), line("run", 15.2, "over", number=7)),
        ),
    ),
    "more lost than was dropped": (
        "durable events come", both(
            *(drop(what="heard", event="kept", of="w2-3", n=n) for n in (1, 2, 3)),
            alter({"events_published": 13, **DROPPED}, what="counters", life="w2-3"),
            alter({"lost": 4}, what="stats"), add(line("c1-4", 22.0, "gap", event="kept", of="W2", lost=3, reason="lost")),
        ),
    ),
    "durable events lost where plain ones were dropped": (
        "durable events come", both(
            drop(what="heard", event="kept", of="w2-3", n=1),
            alter({"events_published": 12, "events_dropped_outbox": 2}, what="counters", life="w2-3"),
            alter({"lost": 2}, what="stats"), add(line("c1-4", 22.0, "gap", event="kept", of="W2", lost=1, reason="lost")),
        ),
    ),
    "an outbox thrown away by one that was asked to end": (
        "every event is acknowledged, or dropped with a count",
        add(line("w2-8", 4.0, "pub", event="kept", n=0), line("w2-8", 4.1, "counters", events_published=0)),
    ),
    "no counters": ("all say what they counted", drop(what="counters", life="w2-3")),
    "no stats": ("all say what they counted", drop(what="stats", life="c1-4")),
    "who never heard itself": ("who subscribes hears", drop(what="hears")),
    "deaf at the end": ("who has healed hears", alter({"n": 6}, what="last", event="beat")),
    "deaf to durable ones at the end": ("who has healed hears", alter({"n": 6}, what="last", event="kept")),
    "an error in peace": (
        "in peace calls are answered", add(call("calm", 10.2), end("calm", 10.3, "PeerUnreachable", "NO")),
    ),
    "an error before the storm": (
        "in peace calls are answered", add(call("calm", 2.6, timeout=None), end("calm", 2.9, "NoHub", "NO")),
    ),
    "left twice": ("left is told once", add(line("eye-9", 3.4, "presence", news="left", id="W1"))),
    "left, and alive": ("nobody who lives has left", add(line("eye-9", 3.4, "presence", news="left", id="W2"))),
    "left, and only a link was reset": (
        "nobody who lives has left", add(
            line("run", 3.3, "blow", number=6, kind="reset", targets=["w2"]), line("run", 3.4, "over", number=6),
            line("eye-9", 3.5, "presence", news="left", id="W2"),
        ),
    ),
    "left before it was struck": ("nobody who lives has left", alter({"t": 2.9}, what="presence")),
    "not listed": ("all list all", alter({"listed": {"W1": "open", "C": "open"}}, what="listing", life="h1-1")),
    "a ghost": (
        "all list all",
        alter({"listed": dict.fromkeys(("W1", "W2", "C", "X"), "open")}, what="listing", life="h1-1"),
    ),
    "suspect at the end": (
        "all list all", alter({"listed": {"W1": "open", "W2": "suspect", "C": "open"}}, what="listing", life="h1-1"),
    ),
    "no listing at all": ("all list all", drop(what="listing", life="w2-3")),
    "a call that fails at the end": ("all call all", alter({"ok": False}, what="reached", life="w2-3", to="H")),
    "a call not tried at the end": ("all call all", drop(what="reached", life="w2-3", to="H")),
    "sockets that stayed open": ("what ended is closed", alter({"files": 91}, what="open", when="after", life="h1-1")),
    "links that stayed open": (
        "what ended is closed", alter({"links": 260, "files": 285}, what="open", when="after", life="h1-1"),
    ),
    "connections to Redis that stayed open": (
        "what ended is closed", alter({"to_redis": 22, "files": 102}, what="open", when="after", life="h1-1"),
    ),
    "threads that serve nobody": ("what ended is closed", alter({"serving": 40}, what="open", when="after", life="h1-1")),
    "threads that stayed": ("what ended is closed", alter({"threads": 25}, what="open", when="after", life="h1-1")),
    "memory that stayed": ("what ended is closed", alter({"rss": 45 << 20}, what="weighed", when="after", life="h1-1")),
    "objects that stayed": ("what ended is closed", alter({"used": 23 << 20}, what="weighed", when="after", life="h1-1")),
    "nobody looked before": (
        "what ended is closed", drop(when="before", life="h1-1"),
    ),
    "nobody looked after": (
        "what ended is closed", drop(when="after", life="h1-1"),
    ),
    "a death of its own": ("nobody dies by itself", alter({"how": "itself"}, what="ended", whose="h1-1")),
    "one that would not stop": ("nobody dies by itself", alter({"how": "hung"}, what="ended", whose="h1-1")),
    "a traceback": ("no defect in a log", add(line("run", 9.0, "trace", whose="h1-1", text="Traceback"))),
    "no end": ("all heals", drop(what="healed")),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_ledger_is_found_out(forgery: str):
    promise, forge = FORGED[forgery]
    lines = good()
    forge(lines)
    assert promise in found(lines)


def test_an_end_that_nobody_told_is_found_where_nothing_was_in_the_way():
    lines = good()
    drop(what="presence")(lines)
    assert found(lines) == set()  # another took its place at once
    alter({"t": 16.0}, what="born", life="w1-5")(lines)
    assert found(lines) == {"left is told"}
    add(line("run", 5.0, "blow", number=1, kind="restart-redis", targets=["redis"]))(lines)
    assert found(lines) == set()  # Redis was away, and with it who listens for us


def test_events_have_a_reason_where_nobody_could_have_seen_them():
    lines = good()
    drop(what="heard", event="beat", of="w2-3", n=1)(lines)
    add(line("c1-4", 2.4, "cut"))(lines)
    assert check(lines) == []  # the subscriber was cut off, and heard nothing of this publisher before
    drop(what="heard", event="kept", of="w1-2", n=6)(lines)
    add(
        line("run", 2.75, "blow", number=1, kind="forget-redis", targets=["redis"]), line("run", 2.9, "over", number=1)
    )(lines)
    assert check(lines) == []  # Redis forgot it, and who had published it was killed before it could send it again


def test_events_that_a_full_outbox_dropped_are_no_loss_of_the_subscriber():
    lines = good()
    drop(what="heard", event="kept", of="w2-3", n=0)(lines)
    drop(what="heard", event="kept", of="w2-3", n=1)(lines)
    assert found(lines) == {"durable events come", "every event is accounted for"}
    alter({"events_published": 12, **dict.fromkeys(DROPPED, 2)}, what="counters", life="w2-3")(lines)
    assert check(lines) == []


def test_who_was_killed_before_it_said_that_it_was_born_had_joined_and_has_left():
    lines = good()
    add(
        line("run", 4.5, "ended", whose="w1-9", sent=4.4, how="kill", code=-9, text=""),
        line("eye-9", 4.6, "presence", news="left", id="W1"),
    )(lines)  # fmt: skip
    assert check(lines) == []
    add(line("eye-9", 4.7, "presence", news="left", id="W1"))(lines)
    assert found(lines) == {"left is told once"}


def test_errors_have_a_reason_in_a_storm_and_shortly_after_it_and_where_there_was_no_time():
    lines = good()
    add(
        call("aftermath", 10.0), end("aftermath", 10.3, "PeerUnreachable", "NO"),
        call("storm", 2.9), end("storm", 3.0, "PeerLost", "MAYBE"),
        call("hasty", 12.0, timeout=0.2), end("hasty", 12.2, "CallTimeout", "MAYBE"),
    )(lines)  # fmt: skip
    assert check(lines) == []


def test_who_was_killed_owes_no_outcome():
    lines = [*good(), call("cut short", 2.9, life="w1-2")]
    assert check(lines) == []


def test_seconds_in_which_the_caller_itself_stood_still_are_not_its_wait():
    lines = good()
    alter({"t": 12.7}, what="end", n="none")(lines)
    add(line("run", 4.0, "blow", number=1, kind="pause-caller", targets=["c1"]), line("run", 8.0, "over", number=1))(
        lines
    )
    assert check(lines) == []


def test_left_is_no_lie_of_whom_others_were_cut_off_from():
    lines = good()
    add(
        line("run", 2.0, "blow", number=1, kind="refuse", targets=["w2"]), line("run", 3.0, "over", number=1),
        line("eye-9", 3.4, "presence", news="left", id="W2"),
    )(lines)  # fmt: skip
    assert check(lines) == []


def test_left_is_told_of_the_life_that_ended_last_though_one_before_it_was_never_told():
    lines = good()
    add(
        line("w3-20", 1.0, "born", name="w3", role="worker", id="W3"),
        line("run", 3.1, "ended", whose="w3-20", sent=3.0, how="kill", code=-9, text=""),
        line("w3-9", 3.2, "born", name="w3", role="worker", id="W3"),
        line("run", 12.1, "ended", whose="w3-9", sent=12.0, how="kill", code=-9, text=""),
    )(lines)
    assert found(lines) == {"left is told"}
    add(line("eye-9", 12.3, "presence", news="left", id="W3"))(lines)
    assert check(lines) == []

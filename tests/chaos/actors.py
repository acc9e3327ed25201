"""The actors: a hub, a worker or a caller, each a user's process that does what it does with hubnet's public API alone.

All of them serve the same connections. Workers publish events, plain ones and durable ones, callers call, callers and some
workers subscribe. What each does is in its ledger before it is done and after; what the run wants of it comes over its
standard input, and when that ends, so does it.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hubnet

from .gate import Gate
from .ledger import Ledger, Tally
from .opened import connected_to, opened
from .weight import weigh

ROLE, NAME, FOLDER, WISHES = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
LIFE = os.environ["CHAOS_LIFE"]
BEAT, KEPT = "beat", "kept"
HELLO = f"hello.{LIFE}"
OWN = "actor"
_PATIENCE = 25.0
_MORE_BEATS = 2.0
_BEATS_FOR_ONE_KEPT = 4
_LOOK = 0.25
_KNOWN = 200
ledger = (Tally if WISHES.get("tally") else Ledger)(FOLDER / f"{LIFE}.jsonl")
quiet, silent, hears_itself = threading.Event(), threading.Event(), threading.Event()
gate = Gate()
triggered = {BEAT: -1, KEPT: -1}
"""The number of the last event of each kind."""
_numbers = itertools.count()
_numbering = threading.Lock()


# -- what everybody serves -----------------------------------------------------------------------------------------------


def _do(n: str, seconds: float, answer: Any) -> Any:
    ledger.write("ran", n=n)
    if seconds:
        time.sleep(seconds)
    ledger.write("done", n=n)
    return answer


@hubnet.connect("chaos.work")
def work(n: str, seconds: float = 0.0) -> str:
    return _do(n, seconds, n)


@hubnet.connect("chaos.again", idempotent=True)
def again(n: str, seconds: float = 0.0) -> str:
    return _do(n, seconds, n)


@hubnet.connect("chaos.echo")
def echo(n: str, load: bytes) -> tuple[str, bytes]:
    return _do(n, 0.0, (n, load))


@hubnet.connect("chaos.fail")
def fail(n: str) -> None:
    _do(n, 0.0, None)
    raise ValueError(f"on purpose: {n}")


@hubnet.connect("chaos.onward")
def onward(n: str, others: list[bytes]) -> str:
    ledger.write("ran", n=n)
    for number, other in enumerate(others):
        inner = f"{n}.{number}"
        noted(inner, other, None, lambda inner=inner, other=other: work(inner, peer=other) == inner, nested=True)
    ledger.write("done", n=n)
    return n


@hubnet.event(BEAT)
def beat(n: int) -> Any:
    return (LIFE, n), {}


@hubnet.event(KEPT, durable=True)
def kept(n: int) -> Any:
    return (LIFE, n), {}


@hubnet.event(HELLO)
def hello() -> Any:
    return (), {}


# -- calling ---------------------------------------------------------------------------------------------------------------


def noted(
    n: str, to: bytes | str, timeout: float | None, call: Callable[[], bool], *, idempotent: bool = False, nested: bool = False,
    raises: bool = False, success: tuple[str, str] = ("ok", "YES"),
) -> None:  # fmt: skip
    """Make a call that says whether its answer is right, and note it and its outcome."""
    to = to.decode() if isinstance(to, bytes) else to
    ledger.write("call", n=n, to=to, timeout=timeout, idempotent=idempotent, nested=nested)
    how, ran = success
    right, text = True, ""
    try:
        right = call()
    except hubnet.HubnetError as error:
        how, ran, text = type(error).__name__, error.ran, str(error).partition("\n")[0][:300]
        right = raises or not isinstance(error, hubnet.RemoteError)
    except BaseException as error:
        how, ran, text = type(error).__name__, None, repr(error)[:300]
    ledger.write("end", n=n, how=how, ran=ran, right=right, text=text)


class Load:
    """One thread of calls, of all kinds, to those that were listed last, most of which have ended by and by."""

    def __init__(self, known: list[bytes], number: int) -> None:
        self._known = known
        self._chance = random.Random(f"{WISHES['seed']} {LIFE} {number}")
        self._kinds = [self._quick] * 8 + [self._slow] * 4 + [self._again] * 2 + [self._echo, self._fail, self._onward]

    def run(self) -> None:
        while not quiet.is_set():
            with gate.through():
                if self._known and not quiet.is_set():
                    self._call()
            pace = WISHES["pace"]
            if pace or not self._known:
                quiet.wait(self._chance.uniform(0.5, 1.5) * (pace or 0.1))

    def _call(self) -> None:
        with _numbering:
            n = f"{LIFE}.{next(_numbers)}"
        timeout = self._chance.choice((None, None, 2.0, 2.0, self._chance.uniform(0.05, 0.5)))
        self._chance.choice(self._kinds)(n, self._chance.choice(self._known), timeout)

    def _quick(self, n: str, to: bytes, timeout: float | None) -> None:
        noted(n, to, timeout, lambda: work(n, peer=to, timeout=timeout) == n)

    def _slow(self, n: str, to: bytes, timeout: float | None) -> None:
        seconds = self._chance.uniform(0.01, 0.5)
        noted(n, to, timeout, lambda: work(n, seconds, peer=to, timeout=timeout) == n)

    def _again(self, n: str, to: bytes, timeout: float | None) -> None:
        seconds = self._chance.uniform(0.0, 0.2)
        noted(n, to, timeout, lambda: again(n, seconds, peer=to, timeout=timeout) == n, idempotent=True)

    def _echo(self, n: str, to: bytes, timeout: float | None) -> None:
        load = self._chance.randbytes(self._chance.choice((100, 70_000, 1 << 20)))
        noted(n, to, timeout, lambda: echo(n, load, peer=to, timeout=timeout) == (n, load))

    def _fail(self, n: str, to: bytes, timeout: float | None) -> None:
        noted(n, to, timeout, lambda: fail(n, peer=to, timeout=timeout) or False, raises=True)

    def _onward(self, n: str, to: bytes, timeout: float | None) -> None:
        others = self._chance.choices(self._known, k=2)
        noted(n, to, timeout, lambda: onward(n, others, peer=to, timeout=timeout) == n)


def keep_listing(known: list[bytes]) -> None:
    """Learn of workers, by listings that may hang no longer than the limit says."""
    while not quiet.is_set():
        with _numbering:
            n = f"{LIFE}.{next(_numbers)}"

        def learn() -> bool:
            listed = hubnet.peers(groups="farm", refresh=True)["peers"]
            known.extend(peer_id for peer_id in listed if peer_id not in known)
            del known[:-_KNOWN]
            return True

        with gate.through():
            noted(n, "a hub", float(os.environ["HUBNET_TIMEOUT"]), learn, success=("listed", "NO"))
        quiet.wait(0.5)


# -- what the run asks of it -------------------------------------------------------------------------------------------------


def check(wanted: dict[str, str]) -> None:
    """Wait until exactly these are listed and open, then call each."""
    begun = time.monotonic()
    while True:
        listed, text = {}, ""
        try:
            found = hubnet.peers(refresh=True)["peers"]
            listed = {
                peer_id.decode(): record["state"] if record["reachable"] else "unreachable"
                for peer_id, record in found.items()
            }
        except hubnet.HubnetError as error:
            text = repr(error)
        if listed == dict.fromkeys(wanted, "open") or time.monotonic() > begun + _PATIENCE:
            break
        time.sleep(0.05)
    ledger.write("listing", listed=listed, text=text, took=round(time.monotonic() - begun, 3))
    for peer_id in wanted:
        try:
            ok, text = hubnet.pass_through(LIFE, peer=peer_id, timeout=10) == LIFE, ""
        except hubnet.HubnetError as error:
            ok, text = False, repr(error)
        ledger.write("reached", to=peer_id, ok=ok, text=text)


def tell_what_is_open(when: str) -> None:
    """Threads, files and links of this process, without the actor's own threads, and what it weighs."""
    threads, sorts = len(list(Path("/proc/self/task").iterdir())), opened()
    told = hubnet.stats()
    links = told["links.idle"] + told["links.incoming"]
    named = Counter(thread.name for thread in threading.enumerate())
    to_redis = connected_to(urlsplit(os.environ["HUBNET_REDIS_URL"]).port, sorts)
    threads -= named.pop(OWN, 0)
    serving = named.pop("hubnet-serve", 0)
    ledger.write(
        "open", when=when, threads=threads - serving, serving=serving, files=sorts.total(), links=links, named=named,
        to_redis=to_redis, sorts=sorts, modules=len(sys.modules),
    )  # fmt: skip
    ledger.write("weighed", when=when, **weigh())


def tell_counters(*, bye: bool = False) -> None:
    """What this peer has counted; whoever leaves hears no more, and owes no account of that."""
    told = hubnet.stats()
    ledger.write("counters", **{name.replace(".", "_"): value for name, value in told.items()})
    if hears() and not bye:
        ledger.write("stats", lost=told.get("events.lost", 0), dropped=told.get("events.dropped_queue", 0))


def obey(threads: list[threading.Thread], beats: list[threading.Thread]) -> None:
    """Do what is asked for, and note what is done."""
    for line in sys.stdin:
        wish = json.loads(line)
        if wish["do"] == "pace":
            WISHES["pace"] = wish["pace"]
        elif wish["do"] == "weigh":
            ledger.write("weighed", look=wish["look"], **weigh())
        else:
            _obey(wish, threads, beats)
            ledger.write("obeyed", wish=wish["do"])
    os._exit(3)  # the run is no more


def _obey(wish: dict[str, Any], threads: list[threading.Thread], beats: list[threading.Thread]) -> None:
    do, _, when = wish["do"].partition(" ")
    if do == "quiet":
        quiet.set()
        _join(threads)
    elif do == "rest":
        gate.shut()
    elif do == "go":
        gate.open()
    elif do == "check":
        check({peer_id: life for peer_id, life in wish["there"].items() if life != LIFE})
    elif do == "last":
        silent.wait(_MORE_BEATS)
        silent.set()
        _join(beats)
        say_last_words()
    elif do == "open":
        tell_what_is_open(when)
    elif do == "stats":
        tell_counters()


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


# -- events ----------------------------------------------------------------------------------------------------------------


def keep_beating() -> None:
    for number in itertools.count():
        if silent.wait(1 / WISHES["beats"]):
            return
        trigger(BEAT, beat)
        if number % _BEATS_FOR_ONE_KEPT == 0:
            trigger(KEPT, kept)


def trigger(event: str, function: Callable[[int], Any]) -> None:
    n = triggered[event] + 1
    ledger.write("pub", event=event, n=n)
    function(n)
    triggered[event] = n


def say_last_words() -> None:
    for event, n in triggered.items():
        if n >= 0:
            ledger.write("last", event=event, n=n)


def keep_flushing() -> None:
    """Note which events Redis has acknowledged, and how many had to be dropped instead."""
    while not silent.wait(_LOOK):
        so_far = dict(triggered)
        if hubnet.flush(_LOOK):
            told = hubnet.stats()
            dropped, of_durable = (told.get(f"events.dropped_{which}", 0) for which in ("outbox", "durable"))
            ledger.write("acked", dropped=dropped, dropped_durable=of_durable, **so_far)


def keep_noting_cuts() -> None:
    """Note when this peer says that it lost Redis, or has subscribed anew."""
    before = None
    while not silent.wait(_LOOK / 2):
        told = hubnet.stats()
        now = told.get("events.interruptions", 0), told.get("reconnects.subscriptions", 0)
        if now != before and before:
            ledger.write("cut")
        before = now


def keep_greeting() -> None:
    """Until the own voice is heard: by then Redis has taken all that was subscribed before that."""
    for n in itertools.count():
        if silent.is_set():
            return
        if hears_itself.wait(_LOOK / 2):
            break
        ledger.write("pub", event="hello", n=n)
        hello()
    ledger.write("hears")
    keep_noting_cuts()


def on_gap(gap: hubnet.Gap) -> None:
    ledger.write("gap", event=gap.event, of=gap.publisher.decode(), lost=gap.lost, reason=gap.reason)


def listen() -> None:
    groups = "farm" if NAME[-1] in "13" else None  # by its exact channel, or by a pattern

    @hubnet.subscribe(BEAT, groups=groups, on_gap=on_gap)
    def on_beat(life: str, n: int) -> None:
        ledger.write("heard", event=BEAT, of=life, n=n)

    @hubnet.subscribe(KEPT, groups=groups, on_gap=on_gap)
    def on_kept(life: str, n: int) -> None:
        ledger.write("heard", event=KEPT, of=life, n=n)

    @hubnet.subscribe(HELLO, local=True, on_gap=on_gap)  # patterns are subscribed last
    def on_hello() -> None:
        hears_itself.set()


def hears() -> bool:
    return ROLE == "caller" or NAME in {"w1", "w4"}


def _started(function: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, name=OWN, daemon=True)
    thread.start()
    return thread


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(threadName)s %(message)s")
    if hears():
        listen()
    while True:
        try:
            peer_id = hubnet.Peer().id
            break
        except hubnet.BrokerUnavailable:  # it was started while Redis was away, and says so
            continue
    ledger.write("born", name=NAME, role=ROLE, pid=os.getpid(), id=peer_id.decode())
    beats = [_started(each) for each in (keep_beating, keep_flushing)] if ROLE == "worker" and WISHES["beats"] else []
    if hears():
        beats.append(_started(keep_greeting))
    threads: list[threading.Thread] = []
    if ROLE == "caller":
        known: list[bytes] = []
        threads = [_started(keep_listing, known)]
        threads += [_started(Load(known, number).run) for number in range(WISHES["threads"])]
    _started(obey, threads, beats)
    hubnet.serve()
    quiet.set()
    silent.set()
    for thread in threads + beats:
        thread.join(20)
    tell_counters(bye=True)
    ledger.write("bye")


if __name__ == "__main__":
    main()

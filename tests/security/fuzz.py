"""Fuzzing by mutation: recorded valid conversations, altered in one to three places, given to hubnet's own readers.

Only this may come out: AuthenticationError and RemoteProtocolError; that a stream has ended; and messages that were
really sent here, in their order. Nothing of what an attacker wrote is unpickled (canaries would sing), no case takes
long, and memory follows what arrives, not what is announced.

Case n of a seed is the same in every run. ``python -m tests.security.fuzz 10_000_000`` runs that many in several
processes; ``--only n`` runs one again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from hubnet.core import codec, frames, handshake, signing
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.handshake import Initiator, Responder
from hubnet.core.keys import Keyring
from hubnet.errors import AuthenticationError, RemoteProtocolError
from tests.core import ends
from tests.core.ends import ALICE_ID, OTHER_TOKEN, RING, TOKEN
from tests.security import by_hand, canary
from tests.security.by_hand import BOTH, SUITES
from tests.security.hearing import Heard, Message, heard, heard_hot

SLOW = 5.0
"""Seconds after which a case counts as one that hangs; a usual one takes less than a thousandth."""
BATCH = 2000
REFUSALS = (AuthenticationError, RemoteProtocolError)

Rng = random.Random


class Failed(AssertionError):
    """A case in which something else came out."""


# -- what is done to bytes -------------------------------------------------------------------------------------------

NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    17,
    24,
    127,
    128,
    255,
    256,
    4096,
    4097,
    32767,
    65535,
    65536,
    1 << 20,
    1 << 31,
    1 << 63,
)
NUMBERS += tuple((1 << bits) - 1 for bits in (16, 24, 31, 32, 48, 63, 64))
SONG = canary.pickled("what was put in")


def flip(rng: Rng, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)


def overwrite(rng: Rng, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data))
    data[at : at + 1] = rng.randbytes(1)


def announce(rng: Rng, data: bytearray, other: bytes) -> None:
    """A number of consequence, most often near the beginning, where lengths stand."""
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(min(len(data), rng.choice((8, 48, 1 << 20))))
    number = rng.choice(NUMBERS) % (1 << 8 * size)
    data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def cut_out(rng: Rng, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 8, 16, 24, 1 << 20))]


def double(rng: Rng, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.choice((1, 8, 16, 24, 40, 1 << 20))]


def put_in(rng: Rng, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice((SONG, b"\0" * rng.randrange(1, 40), rng.randbytes(rng.randrange(1, 40))))


def lay_over(rng: Rng, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data))
    data[at : at + len(SONG)] = SONG


def move(rng: Rng, data: bytearray, other: bytes) -> None:
    one, two = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    data[:] = data[:one] + data[two:] + data[one:two]


def splice(rng: Rng, data: bytearray, other: bytes) -> None:
    """The beginning of one, and of another what stands at the same place or anywhere."""
    at = rng.randrange(len(data))
    data[at:] = other[at if rng.random() < 0.7 else rng.randrange(len(other) + 1) :]


def patch(rng: Rng, data: bytearray, other: bytes) -> None:
    """A part of another in its own place: its nonce, its point, its proof."""
    at = rng.choice((0, 8, 16, 24, 48, 80, 96, rng.randrange(len(data))))
    size = rng.choice((1, 8, 16, 32))
    data[at : at + size] = other[at : at + size]


MUTATIONS = (flip, flip, overwrite, announce, announce, cut_out, double, put_in, lay_over, move, splice, patch, patch)


def mutated(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    """The same bytes, altered in one to three ways; which may come to nothing."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if out:
            rng.choice(MUTATIONS)(rng, out, rng.choice(others))
    return bytes(out)


def chopped(rng: Rng, data: bytes) -> list[bytes]:
    """The reads in which these bytes arrive."""
    if rng.random() < 0.5:
        return [data]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
    return [data[one:two] for one, two in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# -- handshakes ------------------------------------------------------------------------------------------------------


@cache
def recorded_handshakes(suites: int) -> list[list[bytes]]:
    """By message number less one, what earlier conversations of the same two said, and others with them."""
    seeds = (b"initiator", b"a", b"b", b"c")
    sent = [
        ends.shake(ends.initiator(suites=offered, seed=seed), ends.responder(suites=offered, seed=b"r" + seed)).sent
        for seed in seeds
        for offered in (suites, *SUITES)
    ]
    back = ends.initiator(own=ends.BOB, wanted=ends.ALICE, seed=b"back")
    sent.append(ends.shake(back, ends.responder(own=ends.ALICE, seed=b"rback")).sent)
    return [[one[number] for one in sent] for number in range(4)]


def fed(rng: Rng, side: Initiator | Responder, data: bytes, taken: list[bytes]) -> bytes:
    """What a side answers; its owner stops reading once the handshake is done, and what comes later is the link's."""
    answer = b""
    for chunk in chopped(rng, data):
        if side.session is not None:
            break
        if chunk:
            taken.append(chunk)
            answer += side.receive(chunk)
    return answer


def fuzz_handshake(rng: Rng) -> None:
    suites = rng.choice((*SUITES, BOTH))
    near, far = ends.initiator(suites=suites), ends.responder(suites=suites)
    recorded = recorded_handshakes(suites)
    chosen = set(rng.sample(range(4), rng.choice((1, 1, 1, 2, 3))))
    altered, refused = set(), False
    message, number = near.begin(), 0
    while message and not refused:
        arrives, answer = message, b""
        if number in chosen:
            others = recorded[number] if rng.random() < 0.8 else rng.choice(recorded)
            arrives = rng.choice(others) if rng.random() < 0.1 else mutated(rng, message, others)
        taken: list[bytes] = []
        try:
            answer = fed(rng, far if number % 2 == 0 else near, arrives, taken)
        except REFUSALS:
            refused = True
        said = b"".join(taken)
        if not said.startswith(message):
            altered.add(number)
        elif said != message and number < 3:  # behind M4 begins the link
            altered.add(number + 2 if number < 2 else 2)  # to this side it is how its next message begins
        message, number = answer, number + 1
    if altered and near.session is not None:
        raise Failed(f"a dialler has a session, though M{[at + 1 for at in sorted(altered)]} were altered")
    if altered & {0, 1, 2} and far.session is not None and not refused:
        raise Failed(f"a listener has a session, though M{[at + 1 for at in sorted(altered)]} were altered")
    if not altered and (near.session is None or far.session is None):
        raise Failed("no session, though nothing was altered")


# -- frames ----------------------------------------------------------------------------------------------------------

PREFIX = frames.prefix(frames.REQUEST, b"render", 1, 10_000)


class Spoken(NamedTuple):
    """One direction of a recorded link."""

    messages: list[Message]
    frames: list[bytes]


def spoken(side: frames.Protection, value: Callable[[int], bytes], *, plain: bool) -> Spoken:
    """A frame of every kind, or requests that are alike; `value` makes their pickles."""
    said: list[tuple[Message, bytes]] = []
    if plain:
        for number in range(6):
            body = value(number)
            message = Message(frames.REQUEST, b"render", body, (), 1, 10_000)
            said.append((message, side.small(PREFIX, body)))
    else:
        for kind in (*range(frames.HELLO, frames.BYE), frames.RESULT, frames.BYE):
            body = value(kind) if len(said) != frames.RAISED else value(kind) + bytes(frames.SMALL)
            buffers = (b"x" * 300, b"", b"y" * 40) if kind in {frames.REQUEST, frames.RESULT} else ()
            name = b"render" if kind == frames.REQUEST else b""
            views = [memoryview(one) for one in buffers]
            pieces = side.pack(kind, body, name=name, depth=1, patience=2, remaining=3, buffers=views)
            message = Message(kind, name, body, buffers, 1, 2, 3)
            said.append((message, b"".join(bytes(piece) for piece in pieces)))
    return Spoken([one for one, _ in said], [wire for _, wire in said])


class Recorded(NamedTuple):
    """A link, and what else an attacker may have: the other direction, another link, frames of its own."""

    sent: Spoken
    others: list[bytes]


@cache
def recorded_link(suite: int, *, plain: bool) -> Recorded:
    """The link is `ends.linked(suite)`; all but what was sent on it to the far end carries canaries."""
    near, far = ends.linked(suite)
    another = ends.shake(ends.initiator(suites=suite, seed=b"2"), ends.responder(suites=suite, seed=b"2"))
    others: list[bytes] = []
    for where, side in (("the other direction", far), ("another link", frames.protection(another.near))):
        others += spoken(side, lambda number, where=where: canary.pickled(where), plain=plain).frames
    for key in (bytes(32), RING.first.link, RING.first.event):
        mine = by_hand.frames_of(suite, key)
        others += [mine.frame(kind, SONG, b"render", (b"x",)) for kind in (frames.REQUEST, frames.RESULT)]
    return Recorded(spoken(near, lambda number: pickle.dumps((("sent", number), {}), 5), plain=plain), others)


def rearranged(rng: Rng, wire: list[bytes], others: Sequence[bytes]) -> list[bytes]:
    """Whole frames replayed, dropped, exchanged, put in."""
    wire = list(wire)
    for _ in range(rng.choice((1, 1, 2))):
        at, other = rng.randrange(len(wire)), rng.randrange(len(wire))
        deed = rng.randrange(5)
        if deed == 0:
            wire.insert(at, wire[other])
        elif deed == 1 and len(wire) > 1:
            del wire[at]
        elif deed == 2:
            wire[at], wire[other] = wire[other], wire[at]
        elif deed == 3:
            wire.insert(at, rng.choice(others))
        else:
            wire[at] = rng.choice(others)
    return wire


def fuzz_frames(rng: Rng) -> None:
    suite, plain = rng.choice(SUITES), rng.random() < 0.3
    recorded = recorded_link(suite, plain=plain)
    wire = recorded.sent.frames
    if rng.random() < 0.3:
        wire = rearranged(rng, wire, recorded.others)
    if wire == recorded.sent.frames or rng.random() < 0.2:
        wire = list(wire)
        at = rng.randrange(len(wire))
        wire[at] = mutated(rng, wire[at], (*recorded.others, *recorded.sent.frames))
    _, far = ends.linked(suite)
    if plain and rng.random() < 0.7:
        found = heard_hot(far, wire, PREFIX)
    elif rng.random() < 0.5:
        found = heard(far, wire)
    else:
        first, *rest = chopped(rng, b"".join(wire))
        found = heard(far, rest, first) if rng.random() < 0.3 else heard(far, [first, *rest])
    compare(found, recorded.sent, covered=suite == handshake.SEALED)


def compare(found: Heard, sent: Spoken, *, covered: bool) -> None:
    """What was delivered is the beginning of what was sent; in suite 1 a buffer has its length only."""
    if len(found.messages) > len(sent.messages):
        raise Failed("more was delivered than was sent")
    for message, honest in zip(found.messages, sent.messages, strict=False):
        if covered:
            same = message == honest
        else:
            lengths = [len(one) for one in message.buffers] == [len(one) for one in honest.buffers]
            same = lengths and message._replace(buffers=()) == honest._replace(buffers=())
        if not same:
            raise Failed(f"delivered: {message!r:.200}; sent: {honest!r:.200}")
        codec.decode(message.body)


# -- envelopes and records -------------------------------------------------------------------------------------------

CHANNEL = b"hubnet:default:event:render:done"


@cache
def recorded_envelopes() -> tuple[list[bytes], list[bytes]]:
    """Those of this channel, and those of others: another channel, namespace, secret."""
    ours, others = [], []
    for number in range(6):
        sender = Sender(ALICE_ID, b"process %08d" % (number % 3), bool(number % 2), f"machine {number}")
        bodies = [pickle.dumps((("event", at), {}), 5) for at in range(number)]
        ours.append(Packer(sender, RING).pack(CHANNEL, number, bodies))
        songs = [canary.pickled("an event")] * max(1, number)
        others.append(Packer(sender, RING).pack(CHANNEL + b"x", number, songs))
        rings = Keyring.of([TOKEN], "other"), Keyring.of([OTHER_TOKEN], "default")
        others += [Packer(sender, ring).pack(CHANNEL, number, songs) for ring in rings]
    return ours, others


@cache
def opener() -> Opener:
    """One for all cases, as a subscriber has one for all that it hears."""
    return Opener(Keyring([RING.first]))


def fuzz_envelope(rng: Rng) -> None:
    ours, others = recorded_envelopes()
    data = rng.choice(ours) if rng.random() < 0.7 else rng.choice(others)
    if rng.random() < 0.95:
        data = mutated(rng, data, (*ours, *others))
    try:
        envelope = opener().open(CHANNEL, data)
    except AuthenticationError:
        if data in ours:
            raise Failed("an envelope that was not altered was refused") from None
        return
    if data not in ours:
        raise Failed(f"an envelope that nobody signed for this channel: {data!r:.300}")
    for body in envelope.bodies():
        codec.decode(body)


PLACE = "hubnet:{default}:hubs|somebody"


@cache
def recorded_records() -> tuple[list[bytes], list[bytes], list[object]]:
    """Those of this place, those of others, and what the former say."""
    said = [
        {
            "host": f"10.0.0.{number}",
            "port": 3010,
            "load": 0.5 * number,
            "tags": ["a", None, True] * number,
            "n": {"é": number},
        }
        for number in range(5)
    ]
    ours = [signing.sign(one, PLACE, RING).encode() for one in said]
    rings = (RING, Keyring.of([TOKEN], "other"), Keyring.of([OTHER_TOKEN], "default"))
    others = [signing.sign(one, PLACE + "x" * (ring is RING), ring).encode() for one in said for ring in rings]
    return ours, others, list(said)


def spelled(said: object) -> str:
    """For comparing: 1, 1.0 and True are three things here."""
    return json.dumps(said, sort_keys=True)


def fuzz_record(rng: Rng) -> None:
    ours, others, said = recorded_records()
    data = rng.choice(ours) if rng.random() < 0.7 else rng.choice(others)
    if rng.random() < 0.95:
        data = mutated(rng, data, (*ours, *others))
    text = data.decode(errors="replace") if rng.random() < 0.2 else data
    try:
        record = signing.verify(text, PLACE, RING)
    except AuthenticationError:
        if data in ours:
            raise Failed("a record that was not altered was refused") from None
        return
    if spelled(record) not in map(spelled, said):
        raise Failed(f"a record that nobody signed for this place: {record!r:.300}")


# -- running ---------------------------------------------------------------------------------------------------------

KINDS = {"frames": fuzz_frames, "handshake": fuzz_handshake, "envelope": fuzz_envelope, "record": fuzz_record}
TURNS = ("frames", "handshake", "frames", "envelope", "frames", "record", "frames", "handshake", "envelope", "frames")


def run_case(number: int, seed: int = 0) -> str:
    """One case; its kind.

    Raises:
        Failed: naming the case, so that it can be run again.
    """
    kind = TURNS[number % len(TURNS)]
    began = time.perf_counter()
    try:
        KINDS[kind](random.Random(f"{seed}/{number}"))
        if canary.sung:
            raise Failed(f"a canary sang: {canary.sung}")
        if (took := time.perf_counter() - began) > SLOW:
            raise Failed(f"it took {took:.1f} s")
    except Exception as error:
        canary.sung.clear()
        what = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        raise Failed(
            f"case {number} of seed {seed}, {kind}: {what}\n"
            f"again: python -m tests.security.fuzz --seed {seed} --only {number}"
        ) from error
    return kind


def run_cases(numbers: Iterable[int], seed: int = 0) -> int:
    """Cases one after another; how many."""
    count = 0
    for number in numbers:
        run_case(number, seed)
        count += 1
    return count


def most_memory() -> int:
    """The most that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _batch(work: tuple[int, int, int]) -> tuple[int, int, str]:
    """In a process of its own: cases done, its memory, and what failed."""
    start, end, seed = work
    try:
        return run_cases(range(start, end), seed), most_memory(), ""
    except Failed as error:
        return 0, most_memory(), str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run many cases in several processes, and say how fast; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzz", description="Fuzz hubnet's readers.")
    parser.add_argument("cases", nargs="?", type=int, default=1_000_000, help="how many; 10_000_000 may be written so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this one case, here")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    if asked.only is not None:
        print(f"case {asked.only}: {run_case(asked.only, asked.seed)}, as it should be")
        return 0
    work = [(at, min(at + BATCH, asked.cases), asked.seed) for at in range(0, asked.cases, BATCH)]
    began = told = time.monotonic()
    done = memory = 0
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        for count, used, failure in pool.imap_unordered(_batch, work):
            if failure:
                print(failure)
                return 1
            done, memory = done + count, max(memory, used)
            if (now := time.monotonic()) - told >= 10 or done == asked.cases:
                told = now
                rate = done / (now - began)
                print(f"{done:,} cases, {rate:,.0f} a second, at most {memory >> 20} MiB in a process", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

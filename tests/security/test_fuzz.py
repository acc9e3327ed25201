"""The fuzzer in short, and that it would notice: 20 000 cases, 200 000 in CI, or as many as HUBNET_FUZZ_CASES says."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections import Counter

import pytest

from hubnet.core import codec, envelopes, frames, handshake, signing
from hubnet.core.frames import HEADER, PROOF, REQUEST
from tests.core import ends
from tests.core.ends import initiator, responder
from tests.security import canary, fuzz
from tests.security.by_hand import NAMES, SUITES
from tests.security.hearing import heard

CASES = int(os.environ.get("HUBNET_FUZZ_CASES") or (200_000 if os.environ.get("HUBNET_CI") == "1" else 20_000))
SEED = int(os.environ.get("HUBNET_FUZZ_SEED", "0"))
PARTS = 8
MOST = 3 << 20
suite_of_each = pytest.mark.parametrize("suite", SUITES, ids=list(NAMES))


@pytest.mark.timeout(120 + CASES // 200)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_but_the_two_errors_comes_out_and_nothing_that_was_not_sent_is_believed(part):
    """Attacks 4, 5, 19 to 23 and 27, by mutation."""
    before = fuzz.most_memory()
    numbers = range(part * CASES // PARTS, (part + 1) * CASES // PARTS)
    assert fuzz.run_cases(numbers, SEED) == len(numbers)
    assert fuzz.most_memory() - before < 64 << 20


def test_a_case_is_the_same_whenever_it_is_run(monkeypatch):
    """Else a number would not be enough to find a failure again."""
    told = []
    monkeypatch.setitem(fuzz.KINDS, "frames", lambda rng: told.append(fuzz.mutated(rng, bytes(100), [b"x" * 100])))
    for number in (0, 2, 4, 0, 2, 4):
        fuzz.run_case(number)
    assert told[:3] == told[3:]
    assert len(set(told)) == 3


def test_every_way_of_mutation_changes_something():
    for mutation in fuzz.MUTATIONS:
        changed = 0
        for number in range(50):
            data = bytearray(range(100))
            mutation(random.Random(number), data, bytes(reversed(range(100))))
            changed += data != bytes(range(100))
        assert changed > 25, mutation.__name__


def test_the_turns_reach_every_kind_of_reader():
    assert set(Counter(fuzz.run_case(number) for number in range(20))) == set(fuzz.KINDS)


def test_a_canary_sings_when_it_is_rebuilt():
    """Else its silence would prove nothing."""
    codec.decode(canary.pickled("here"))
    assert canary.sung == ["here"]
    canary.sung.clear()


def fails(most: int = 5000) -> str:
    """What the first failing case says."""
    with pytest.raises(fuzz.Failed) as caught:
        fuzz.run_cases(range(most))
    return str(caught.value)


BREAKS = {
    "frames of suite 1 pass unproved": lambda patch: patch.setattr(frames, "compare_digest", lambda one, other: True),
    "envelopes pass unproved": lambda patch: patch.setattr(envelopes, "compare_digest", lambda one, other: True),
    "records pass unproved": lambda patch: patch.setattr(signing, "compare_digest", lambda one, other: True),
    "handshakes pass unproved": lambda patch: patch.setattr("hmac.compare_digest", lambda one, other: True),
    "M1 is in no transcript": lambda patch: patch.setattr(
        handshake, "_hash", lambda *parts, true=handshake._hash: true(*parts[:1], *parts[2:])
    ),
    "another error comes out": lambda patch: patch.setattr(frames, "split", lambda *_: {}["nothing"]),
    "a body is rebuilt before its proof is seen": lambda patch: patch.setattr(
        frames.Tagged, "open_small", lambda self, frame: codec.decode(frame[frames._BODY]) and frame[frames._BODY]
    ),
    "it is slow": lambda patch: patch.setattr(fuzz, "SLOW", 0.0),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_the_fuzzer_finds_it_when(broken, monkeypatch):
    """Each of these is found within 5 000 cases, and says how to run its case again."""
    fuzz.run_cases(range(20))  # what is recorded is recorded from the true code
    broken(monkeypatch)
    assert "again: python -m tests.security.fuzz --seed 0 --only " in fails()
    canary.sung.clear()


@suite_of_each
@pytest.mark.parametrize("length", [PROOF, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_an_announced_length_takes_no_memory(suite, length):
    """Attack 29. Four gigabytes are announced, some bytes come."""
    for count, named, sent in ((0, 0, 10), (1, 0, 100), (4096, 65535, 1000), (0, 3, 70_000)):
        wire = HEADER.pack(length, REQUEST, 0, count, named, 0, 0, 0) + bytes(sent)
        _, far = ends.linked(suite)
        tracemalloc.start()
        try:
            found = heard(far, [wire])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found.messages == []
        assert peak < MOST


@suite_of_each
def test_a_buffers_announced_length_takes_no_memory_until_it_is_proved(suite):
    """Attack 29. The table of lengths is under the proof: eight bytes of 0xff in it are a broken frame."""
    near, _ = ends.linked(suite)
    pieces = [bytes(one) for one in near.pack(REQUEST, b"body", buffers=[memoryview(b"buffer")])]
    wire = bytearray(b"".join(pieces))
    wire[24:32] = b"\xff" * 8
    _, far = ends.linked(suite)
    tracemalloc.start()
    try:
        found = heard(far, [bytes(wire)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.messages, found.refused) == ([], True)
    assert peak < MOST


@pytest.mark.parametrize("first", [b"H", b"HUB1", b"HUB1\1\1\3\4"])
def test_a_handshake_that_never_ends_keeps_no_more_than_a_message(first):
    """Attack 29. Whatever is poured in: it is refused, or waited for while it is shorter than a message."""
    for side in (responder(), initiator()):
        if isinstance(side, handshake.Initiator):
            side.begin()
        kept = 0
        with pytest.raises(fuzz.REFUSALS):
            for chunk in [first, *[b"\0"] * 10_000]:
                side.receive(chunk)
                kept = max(kept, len(side._buffer))
        assert kept < handshake.LIMIT

"""What is asked for again is worked out once, what is not is forgotten, and its memory with it."""

from __future__ import annotations

import gc
import weakref

import pytest

from hubnet.core import envelopes, identity
from hubnet.core.recent import Recent


class Result:
    def __init__(self, of: object) -> None:
        self.of = of


def test_a_result_is_worked_out_once_while_it_is_asked_for_however_much_else_is():
    recent = Recent(Result, span=10)
    first = recent("first")
    for number in range(100):
        for other in range(5):
            assert recent((number, other)).of == (number, other)
        assert recent("first") is first


def test_a_result_that_nobody_asked_for_within_two_spans_is_gone():
    recent, alive = Recent(Result, span=10), []
    for number in range(200):
        alive.append(weakref.ref(recent(number)))
        gc.collect()
        assert sum(one() is not None for one in alive) <= 20


def test_the_last_span_of_questions_is_remembered():
    asked = []
    recent = Recent(asked.append, span=10)
    for number in (*range(10), *range(10)):
        recent(number)
    assert asked == list(range(10))  # none of which came to anything but None


def test_what_is_raised_is_not_kept():
    recent = Recent(int)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            recent("one")


@pytest.mark.parametrize(
    "one", [envelopes.Opener(None)._sender, identity._decoded_of_late, identity._generated_of_late]
)
def test_what_is_kept_of_peers_follows_those_that_are_there(one):
    assert isinstance(one, Recent)

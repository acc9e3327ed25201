"""Turns: who is asked first, and how long it has."""

from __future__ import annotations

from hubnet.core.membership import HubEntry
from hubnet.core.turns import SHORT, Turns

ONE, TWO, THREE = (HubEntry(name, "127.0.0.1", 3010, bytes(16), 0.0) for name in (b"one", b"two", b"three"))


def test_the_only_hub_has_all_the_time_that_a_question_may_take():
    assert Turns(2.0).time_for(ONE, [ONE], 0.0, 3.0, 0) == 3.0
    assert Turns(2.0).time_for(ONE, [ONE], 0.0, 60.0, 0) == 5.0


def test_several_have_a_short_turn_each_and_never_more_than_half_of_what_is_left():
    turns = Turns(2.0)
    assert [turns.time_for(hub, [ONE, TWO], 0.0, 30.0, 0) for hub in (ONE, TWO)] == [SHORT, SHORT]
    assert turns.time_for(ONE, [ONE, TWO], 0.0, 0.4, 0) == 0.2


def test_after_a_round_in_vain_the_last_good_one_has_what_is_left():
    turns = Turns(2.0)
    turns.not_reached(TWO, 10.0)
    turns.round_over(1)
    hubs = turns.in_order([TWO, ONE, THREE], 11.0)
    assert hubs == [ONE, THREE, TWO]
    assert [turns.time_for(hub, hubs, 11.0, 4.0, 1) for hub in hubs] == [2 * SHORT, 4.0, 2 * SHORT]


def test_where_none_was_reached_the_last_of_all_has_it():
    turns = Turns(2.0)
    for hub in (ONE, TWO):
        turns.not_reached(hub, 10.0)
    assert [turns.time_for(hub, [ONE, TWO], 11.0, 4.0, 1) for hub in (ONE, TWO)] == [SHORT, 4.0]


def test_who_was_not_reached_is_asked_last_for_a_while():
    turns = Turns(2.0)
    turns.not_reached(ONE, 10.0)
    assert turns.in_order([ONE, TWO], 11.9) == [TWO, ONE]
    assert turns.in_order([ONE, TWO], 12.0) == [ONE, TWO]


def test_turns_are_longer_where_hubs_are_slow_and_short_again_after():
    turns = Turns(2.0)
    turns.answered(0.8)
    assert turns.time_for(ONE, [ONE, TWO], 0.0, 30.0, 0) == 1.6
    turns.answered(0.01)
    assert turns.time_for(ONE, [ONE, TWO], 0.0, 30.0, 0) == SHORT


def test_no_turn_is_longer_than_a_question_may_take_however_long_nobody_is_there():
    turns = Turns(2.0)
    for rounds in range(1, 2000):
        turns.round_over(rounds)
        assert turns.time_for(ONE, [ONE, TWO], 0.0, 60.0, 0) <= 5.0

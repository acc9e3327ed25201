"""Numbers: every event of a publisher is delivered, lost or repeated, and counted once as that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubnet.core import sequence
from hubnet.core.sequence import Arrival, Sequence

HER, HIS = b"her process", b"his process"


def test_the_first_envelope_sets_the_mark():
    assert Sequence().arrive(HER, b"c", 1000, 5) == Arrival(0, 0)


def test_a_hole_is_counted_exactly():
    numbers = Sequence()
    numbers.arrive(HER, b"c", 0, 5)
    assert numbers.arrive(HER, b"c", 8, 2) == Arrival(3, 0)
    assert numbers.arrive(HER, b"c", 10, 1) == Arrival(0, 0)


def test_what_came_before_is_repeated_wholly_or_in_part():
    numbers = Sequence()
    numbers.arrive(HER, b"c", 0, 5)
    assert numbers.arrive(HER, b"c", 0, 5) == Arrival(0, 5)
    assert numbers.arrive(HER, b"c", 3, 4) == Arrival(0, 2)
    assert numbers.arrive(HER, b"c", 1, 2) == Arrival(0, 2)
    assert numbers.arrive(HER, b"c", 7, 1) == Arrival(0, 0)


def test_a_mark_shows_a_lost_tail_once():
    numbers = Sequence()
    numbers.arrive(HER, b"c", 0, 5)
    assert numbers.arrive(HER, b"c", 5, 0) == Arrival(0, 0)
    assert numbers.arrive(HER, b"c", 9, 0) == Arrival(4, 0)
    assert numbers.arrive(HER, b"c", 9, 0) == Arrival(0, 0)
    assert numbers.arrive(HER, b"c", 9, 1) == Arrival(0, 0)


def test_publishers_and_channels_count_for_themselves():
    numbers = Sequence()
    numbers.arrive(HER, b"c", 0, 5)
    assert numbers.arrive(HIS, b"c", 3, 1) == Arrival(0, 0)
    assert numbers.arrive(HER, b"d", 9, 1) == Arrival(0, 0)
    assert numbers.arrive(HER, b"c", 5, 1) == Arrival(0, 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), max_size=30))
def test_what_was_sent_is_delivered_or_lost_and_copies_are_repeated(history):
    """In order, some envelopes dropped and some twice, then a mark: the sum is exact."""
    numbers = Sequence()
    numbers.arrive(HER, b"c", 0, 0)
    at = delivered = lost = repeated = copies = 0
    for count, dropped, twice in history:
        for _ in range(0 if dropped else 1 + twice):
            arrival = numbers.arrive(HER, b"c", at, count)
            lost += arrival.lost
            repeated += arrival.repeated
            delivered += count - arrival.repeated
        copies += count if twice and not dropped else 0
        at += count
    lost += numbers.arrive(HER, b"c", at, 0).lost
    assert delivered + lost == at
    assert repeated == copies


def test_publishers_that_went_are_forgotten_one_by_one(monkeypatch):
    monkeypatch.setattr(sequence, "_REMEMBERED", 3)
    numbers = Sequence()
    for publisher in (b"1", b"2", b"3", b"4"):
        numbers.arrive(publisher, b"c", 0, 1)
    assert set(numbers.of_channel(b"c")) == {b"2", b"3", b"4"}
    assert numbers.arrive(b"4", b"c", 2, 1) == Arrival(1, 0)


def test_who_comes_and_goes_on_one_channel_takes_no_place_of_another_channel(monkeypatch):
    monkeypatch.setattr(sequence, "_REMEMBERED", 3)
    numbers = Sequence()
    numbers.arrive(HER, b"quiet", 0, 1)
    for number in range(5):
        numbers.arrive(b"short-lived %d" % number, b"busy", 0, 1)
    assert len(numbers.of_channel(b"busy")) == 2
    assert numbers.arrive(HER, b"quiet", 4, 1) == Arrival(3, 0)


def test_new_publishers_of_a_new_channel_take_places_where_most_are(monkeypatch):
    monkeypatch.setattr(sequence, "_REMEMBERED", 5)
    numbers = Sequence()
    numbers.arrive(HER, b"quiet", 0, 1)
    for number in range(4):
        numbers.arrive(b"%d" % number, b"busy", 0, 1)
    for number in range(5):
        arrivals = [numbers.arrive(publisher, b"new", 2 * number, 1) for publisher in (HER, HIS)]
        assert arrivals == [Arrival(1 if number else 0, 0)] * 2
    assert [len(numbers.of_channel(channel)) for channel in (b"quiet", b"busy", b"new")] == [1, 2, 2]


def test_channels_that_nobody_is_remembered_of_are_forgotten(monkeypatch):
    monkeypatch.setattr(sequence, "_REMEMBERED", 3)
    numbers = Sequence()
    for number in range(9):
        numbers.arrive(HER, b"%d" % number, 0, 1)
    assert set(numbers._next) == {b"6", b"7", b"8"}


def test_where_it_begins_is_believed_of_whoever_was_not_heard_yet():
    numbers = Sequence()
    numbers.begin(HER, b"c", 5)
    numbers.begin(HER, b"c", 1)
    assert numbers.arrive(HER, b"c", 7, 1) == Arrival(2, 0)


def test_a_publisher_that_still_talks_is_not_the_one_that_is_forgotten(monkeypatch):
    monkeypatch.setattr(sequence, "_REMEMBERED", 3)
    numbers = Sequence()
    numbers.arrive(b"old and busy", b"c", 0, 1)
    for number in range(1, 6):
        numbers.arrive(b"short-lived %d" % number, b"c", 0, 1)
        numbers.arrive(b"old and busy", b"c", number, 1)
    assert numbers.arrive(b"old and busy", b"c", 8, 1) == Arrival(2, 0)

"""High-water marks: a second after the last event, then after twice as long each time, then never."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.marks import TIMES, Marks


def told_at(marks: Marks, until: float) -> list[tuple[float, bytes]]:
    """What a publisher that rests as long as it is told to sends when."""
    sent, now = [], 0.0
    while (rest := marks.rest(now)) is not None and now + rest <= until:
        now += rest
        sent += [(now, channel) for channel in marks.due(now)]
    return sent


def test_a_channel_that_fell_silent_is_marked_twelve_times_within_seventy_minutes_and_no_more():
    marks = Marks()
    marks.told(b"c", 0.0)
    assert told_at(marks, 1e9) == [(2.0**n - 1, b"c") for n in range(1, TIMES + 1)]
    assert marks.rest(1e9) is None
    assert marks.due(1e9) == []


def test_nobody_is_due_where_nothing_was_told():
    assert Marks().rest(0.0) is None
    assert Marks().due(1e9) == []


def test_an_event_begins_anew():
    marks = Marks()
    marks.told(b"c", 0.0)
    assert [marks.due(now) for now in (1.0, 3.0)] == [[b"c"], [b"c"]]
    marks.told(b"c", 3.5)
    assert [marks.due(now) for now in (4.4, 4.5, 6.4, 6.5)] == [[], [b"c"], [], [b"c"]]


def test_all_begin_anew_when_everybody_may_have_missed_them():
    marks = Marks()
    marks.told(b"c", 0.0)
    marks.due(1.0)
    marks.told(b"d", 1.5)
    marks.again(2.0)
    assert [marks.due(now) for now in (2.9, 3.0)] == [[], [b"c", b"d"]]


def test_a_mark_that_is_late_is_sent_once_and_the_next_one_counts_from_then():
    marks = Marks()
    marks.told(b"c", 0.0)
    assert marks.due(500.0) == [b"c"]
    assert marks.due(501.9) == []
    assert marks.due(502.0) == [b"c"]


@given(
    events=st.lists(st.tuples(st.floats(0, 100), st.sampled_from([b"a", b"b", b"c"])), min_size=1),
    back=st.floats(0, 3000),
)
def test_who_comes_back_hears_a_mark_within_as_long_again_as_the_channel_was_silent(events, back):
    marks, now, last = Marks(), 0.0, {}
    for at, channel in sorted(events):
        while (rest := marks.rest(now)) is not None and now + rest <= at:
            now += rest
            marks.due(now)
        now = max(now, at)
        marks.told(channel, now)
        last[channel] = now
    silent = max(back, now)
    heard = {}
    while (rest := marks.rest(now)) is not None:
        now += rest
        for channel in marks.due(now):
            if now >= silent:
                heard.setdefault(channel, now)
    for channel, told in last.items():
        if silent - told < 2.0**TIMES - 1:
            assert heard[channel] - silent <= (silent - told) + 1.0 + 1e-6

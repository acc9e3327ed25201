"""What is said of strangers, and how often."""

from __future__ import annotations

from hubnet.links.complaints import EVERY, MOST, Complaints


def test_the_same_is_said_once_a_minute_and_then_how_often_it_was_not() -> None:
    now = 0.0
    complaints = Complaints(lambda: now)
    assert complaints.about("10.0.0.1", "an unknown secret") == "10.0.0.1: an unknown secret"
    for _ in range(5):
        now += EVERY / 10
        assert complaints.about("10.0.0.1", "an unknown secret") is None
    now = EVERY
    expected = "10.0.0.1: an unknown secret (and 5 times more since this was last said)"
    assert complaints.about("10.0.0.1", "an unknown secret") == expected
    now = 3 * EVERY
    assert complaints.about("10.0.0.1", "an unknown secret") == "10.0.0.1: an unknown secret"


def test_another_address_and_another_reason_are_another_matter() -> None:
    complaints = Complaints(lambda: 0.0)
    assert complaints.about("10.0.0.1", "an unknown secret")
    assert complaints.about("10.0.0.2", "an unknown secret")
    assert complaints.about("10.0.0.1", "another namespace")


def test_what_is_remembered_is_bounded() -> None:
    complaints = Complaints(lambda: 0.0)
    for number in range(10 * MOST):
        complaints.about(f"10.0.0.1:{number}", "an unknown secret")
    assert len(complaints._last) == MOST

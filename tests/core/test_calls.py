"""Rules of a call."""

from __future__ import annotations

import pytest

from hubnet.core import calls
from hubnet.core.calls import Transmission, may_repeat, refusal, refused, vanished
from hubnet.errors import MAYBE, NO, YES, DecodeError, InvalidConnection, NotAllowed, PeerBusy


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (calls.NO_CONNECTION, InvalidConnection),
        (calls.FORBIDDEN, NotAllowed),
        (calls.BUSY, PeerBusy),
        (calls.LEAVING, PeerBusy),
        (calls.DEPTH, PeerBusy),
        (calls.ARGUMENTS, DecodeError),
    ],
)
def test_each_refusal_is_an_error_that_did_not_run(code, kind):
    error, said = refused(refusal(code, "why", tags=["a"]), connection="render", peer=b"id")
    assert type(error) is kind
    assert error.ran == NO
    assert "why" in str(error)
    assert said == {"code": code, "text": "why", "tags": ["a"]}
    if kind is not DecodeError:
        assert (error.connection, error.peer) == ("render", b"id")


def test_a_refusal_of_a_newer_peer_is_taken_for_busy():
    assert type(refused(refusal("something new", "why"), connection="render", peer=None)[0]) is PeerBusy


@pytest.mark.parametrize(
    ("ran", "idempotent", "attempts", "expected"),
    [
        (NO, False, 1, True),
        (NO, False, 2, True),
        (NO, False, 3, False),
        (NO, True, 3, False),
        (MAYBE, False, 1, False),
        (MAYBE, True, 1, True),
        (MAYBE, True, 3, False),
        (YES, False, 1, False),
        (YES, True, 1, False),
    ],
)
def test_only_what_did_not_run_or_does_no_harm_is_repeated(ran, idempotent, attempts, expected):
    assert may_repeat(ran, idempotent=idempotent, attempts=attempts) is expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Transmission(0, 0, 0, 60_000), False),  # nothing in flight: keepalive's business
        (Transmission(3, 0, 5, 3_000), True),
        (Transmission(3, 0, 5, 2_999), False),
        (Transmission(3, 0, 0, 9_000), False),  # all acknowledged
        (Transmission(0, 1, 0, 9_000), False),  # a closed window, probes answered
        (Transmission(0, 3, 0, 9_000), True),  # probes unanswered
        (Transmission(0, 3, 0, 500), False),
    ],
)
def test_a_machine_has_vanished_when_its_kernel_does_not_answer(seen, expected):
    assert vanished(seen) is expected

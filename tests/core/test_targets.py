"""Targets: everything that may stand behind peer=, and seconds behind timeout=."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.targets import peer_id_of, seconds
from tests.core.ends import ALICE_ID


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ALICE_ID, ALICE_ID),
        (ALICE_ID.decode(), ALICE_ID),
        (("10.0.0.1", 3010), ("10.0.0.1", 3010)),
        (("::1", 3010), ("::1", 3010)),
        ({"host": "10.0.0.1", "port": 3010, "group": "render", "hub": False}, ALICE_ID),
        (SimpleNamespace(id=ALICE_ID), ALICE_ID),
    ],
)
def test_each_form_names_its_peer(target, expected):
    assert peer_id_of(target) == expected


@pytest.mark.parametrize("target", ["junk", b"junk", "", "10.0.0.1:3010", "é"])
def test_a_str_that_is_no_id_is_a_value_error(target):
    with pytest.raises(ValueError, match="not a peer id"):
        peer_id_of(target)


@pytest.mark.parametrize(
    "target",
    [
        None,
        5,
        3010.0,
        ("h",),
        ("h", "3010"),
        ("h", True),
        (b"h", 1),
        ["h", 1],
        {"host": "h"},
        SimpleNamespace(id="x"),
        object(),
    ],
)
def test_anything_else_is_a_type_error_that_says_what_is_allowed(target):
    with pytest.raises(TypeError, match=r"peer= takes .*\(host, port\).*RemotePeer"):
        peer_id_of(target)


@given(st.floats(min_value=1e-9, max_value=1e9) | st.integers(1, 10**9))
def test_seconds_are_a_positive_number(value):
    assert seconds(value) == float(value)


def test_no_timeout_is_none():
    assert seconds(None) is None


@pytest.mark.parametrize("value", [0, -1, -0.5, float("inf"), float("nan"), 1e300, pytest.param(10**5000, id="huge")])
def test_other_numbers_are_a_value_error_that_names_the_parameter(value):
    with pytest.raises(ValueError, match="patience"):
        seconds(value, "patience")


@pytest.mark.parametrize("value", ["5", True, False, [1], b"1", 1j])
def test_what_is_no_number_is_a_type_error_that_names_the_parameter(value):
    with pytest.raises(TypeError, match="timeout is a number"):
        seconds(value)


def test_where_a_timeout_must_be_there_none_is_a_type_error():
    with pytest.raises(TypeError, match="timeout is a number of seconds, not NoneType"):
        seconds(None, optional=False)


@pytest.mark.parametrize(
    "target", [("h", 0), ("h", 65536), ("", 1), ("a b", 1), ("h\0", 1), {"host": "h", "port": -1, "group": "g"}]
)
def test_a_target_of_the_right_kind_that_names_no_peer_is_a_value_error(target):
    with pytest.raises(ValueError, match=r"peer= takes .*not (int|str): "):
        peer_id_of(target)

"""Flags and their handlers."""

from __future__ import annotations

import pytest

from hubnet.core.flags import Flag, Flags
from hubnet.errors import YES, UnknownFlag


def flags() -> Flags:
    return Flags({"NULL": lambda tag, peer: None, "LATER": lambda tag, peer: (tag, peer["group"])})


def test_a_flag_is_its_name():
    assert Flag("LATER") == flags().flag("LATER")
    assert len({Flag("LATER"), Flag("LATER"), Flag("NULL")}) == 2
    assert Flag("LATER") != "LATER"
    assert repr(Flag("LATER")) == "<flag LATER>"


def test_the_handler_gets_the_tag_and_the_peer():
    assert flags().run("LATER", "render", {"group": "farm"}) == ("render", "farm")


def test_the_references_other_name_of_null_is_understood():
    assert flags().flag("NULL_RESPONSE") == Flag("NULL")


def test_a_flag_without_handler_lists_those_there_are():
    with pytest.raises(UnknownFlag, match=r"LATER, NULL.*@hubnet\.flag"):
        flags().flag("SOONER")


def test_an_answer_with_an_unknown_flag_says_that_the_function_ran():
    with pytest.raises(UnknownFlag, match=r"'render' ran .*@hubnet\.flag\('SOONER'\)") as caught:
        flags().run("SOONER", "render", {})
    assert caught.value.ran == YES

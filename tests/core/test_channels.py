"""Names in Redis: no group or event ever leaks into another channel, key or pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.channels import Names, encoded, event_name
from hubnet.errors import ConfigError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
NASTY = st.sampled_from([*"*?[]^-\\:{}%/ é\n\0.~", "a", "b", "->", "[a-z]", "%2A", "peers:", "event:"])
NAMES = TEXT | st.lists(NASTY, min_size=1, max_size=6).map("".join)
NAMESPACES = st.from_regex(r"[A-Za-z0-9_.-]{1,10}", fullmatch=True)


def glob(pattern: str, text: str) -> bool:
    """Redis's stringmatchlen: ``*``, ``?``, ``[...]`` and backslash."""
    out, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            out += ".*"
        elif character == "?":
            out += "."
        elif character == "[":
            end = pattern.index("]", at)
            out, at = out + pattern[at : end + 1], end
        elif character == "\\":
            at += 1
            out += re.escape(pattern[at])
        else:
            out += re.escape(character)
        at += 1
    return re.fullmatch(out, text, re.DOTALL) is not None


@given(NAMESPACES, NAMES, NAMES)
def test_group_and_event_come_out_of_a_channel_as_they_went_in(namespace, group, event):
    names = Names(namespace)
    channel = names.event(group, event)
    assert channel.isascii()
    assert channel.isprintable()
    assert names.parse_event(channel) == (group, event)


@given(NAMES, NAMES, NAMES)
def test_a_pattern_matches_its_event_in_every_group_and_no_other_event(group, event, other):
    names = Names("default")
    assert glob(names.event_everywhere(event), names.event(group, event))
    if other != event:
        assert not glob(names.event_everywhere(event), names.event(group, other))


@given(NAMESPACES, NAMESPACES, NAMES, NAMES)
def test_a_pattern_matches_nothing_of_another_namespace(namespace, other, group, event):
    if namespace != other:
        assert not glob(Names(namespace).event_everywhere(event), Names(other).event(group, event))
        with pytest.raises(ValueError, match="not an event's channel"):
            Names(namespace).parse_event(Names(other).event(group, event))


@given(NAMES, NAMES, NAMES, NAMES)
def test_two_events_never_share_a_channel(group, event, group2, event2):
    names = Names("default")
    assert (names.event(group, event) == names.event(group2, event2)) == ((group, event) == (group2, event2))


@given(NAMES)
def test_nothing_in_a_pattern_is_special_but_its_one_star(event):
    pattern = Names("default").event_everywhere(event)
    assert pattern.count("*") == 1
    assert not set("?[]\\^{}") & set(pattern)


@given(NAMES, NAMES, NAMES)
def test_presence_is_no_event(group, event, other):
    names = Names("default")
    assert names.presence != names.event(group, event)
    assert not glob(names.event_everywhere(other), names.presence)
    with pytest.raises(ValueError, match="not an event's channel"):
        names.parse_event(names.presence)


@given(NAMESPACES, NAMES, NAMES)
def test_keys_carry_the_namespace_as_their_one_hash_tag_and_differ(namespace, group, other):
    names = Names(namespace)
    keys = [names.leases, names.hubs, names.groups, names.version, names.peers(group)]
    assert len(set(keys)) == 5
    for key in keys:
        assert re.search(r"\{(.*?)\}", key)[1] == namespace
        assert key.count("{") == key.count("}") == 1
    assert (names.peers(group) == names.peers(other)) == (group == other)


def test_the_names_are_those_of_the_house_plan():
    names = Names("default")
    assert names.event("None", "frame_done") == "hubnet:default:event:None:frame_done"
    assert names.event("a b", "x:y/z") == "hubnet:default:event:a%20b:x%3Ay%2Fz"
    assert names.event_everywhere("frame_done") == "hubnet:default:event:*:frame_done"
    assert names.presence == "hubnet:default:presence"
    assert names.peers("a{b}") == "hubnet:{default}:peers:a%7Bb%7D"
    assert (names.leases, names.hubs) == ("hubnet:{default}:leases", "hubnet:{default}:hubs")
    assert (names.groups, names.version) == ("hubnet:{default}:groups", "hubnet:{default}:version")


@pytest.mark.parametrize(
    "channel", ["", "x", "hubnet:default:event:", "hubnet:default:event:a", "hubnet:default:event:a:b:c"]
)
def test_what_is_no_channel_of_ours_is_a_value_error(channel):
    with pytest.raises(ValueError, match="not an event's channel"):
        Names("default").parse_event(channel)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_encoding_leaves_only_safe_characters(name):
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]*", encoded(name))


@pytest.mark.parametrize("name", ["", "a*b", "*"])
def test_an_empty_name_or_one_with_a_star_is_refused(name):
    with pytest.raises(ConfigError):
        event_name(name)


@pytest.mark.parametrize("name", [None, b"frame_done", 5])
def test_an_event_name_that_is_no_str_is_named(name):
    with pytest.raises(TypeError, match=type(name).__name__):
        event_name(name)

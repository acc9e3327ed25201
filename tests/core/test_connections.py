"""Connections by tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.connections import Connection, Connections, path_tag, untagged

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)


@given(st.lists(NAMES, min_size=1, max_size=3).map(".".join), NAMES)
def test_an_untagged_function_is_read_by_its_path(module, name):
    assert untagged(path_tag(module, name)) == f"{module}.{name}"


@pytest.mark.parametrize("tag", ["render", "test", "abcd", "hubnet:who", "é", "", "shot.render", "YWJj", "YQ=="])
def test_any_other_tag_reads_as_it_is(tag):
    assert untagged(tag) == tag


@given(st.text(max_size=30))
def test_reading_a_tag_never_fails(tag):
    assert untagged(tag) in {tag, untagged(tag)}


def test_connections_are_found_by_tag_and_alias_in_order():
    table = Connections()
    assert not table.add(Connection("b", print, aliases=("bee",)))
    assert not table.add(Connection("a", print))
    assert not table.add(Connection("hubnet:who", print, builtin=True))
    assert [connection.tag for connection in table] == ["b", "a", "hubnet:who"]
    assert table.tags() == ["b", "a"]
    assert table.by_name[b"bee"] is table.by_name[b"b"]
    assert "a" in table
    assert "bee" not in table


def test_a_second_function_under_a_tag_replaces_the_first_and_that_is_told():
    table = Connections()
    table.add(Connection("a", print))
    assert table.add(Connection("a", repr))
    assert table.by_name[b"a"].function is repr
    assert table.tags() == ["a"]


def test_a_table_may_grow_while_it_is_looked_through():
    table = Connections()
    table.add(Connection("a", print))
    for connection in table:
        table.add(Connection(connection.tag + "a", print)) if len(connection.tag) < 3 else None
    assert "aa" in table

"""Who is meant."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.identity import decode_id, generate_id
from hubnet.core.selection import AllOf, AnyOf, Query, filter_of, group_names
from hubnet.errors import ConfigError
from tests.core.ends import ALICE_ID, BOB_ID

ALL_IDS = [generate_id(port, "h", group) for port in (1, 2) for group in ("a", "b", "None")]
QUERIES = st.builds(
    Query,
    groups=st.none() | st.frozensets(st.sampled_from(["a", "b", "None"]), max_size=2),
    hubs_only=st.booleans(),
    machine=st.sampled_from([None, "m", "n"]),
    ids=st.none() | st.frozensets(st.sampled_from(ALL_IDS), max_size=3),
)
FILTERS = st.recursive(
    QUERIES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda many: AnyOf(tuple(many)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda many: AllOf(tuple(many)))
    ),
    max_leaves=6,
)
PEERS = [
    {"peer_id": peer_id, "group": decode_id(peer_id).group, "hub": hub, "machine": machine}
    for peer_id in ALL_IDS
    for hub in (True, False)
    for machine in ("m", "n")
]


@given(FILTERS)
def test_no_peer_outside_of_the_groups_that_can_match_is_ever_meant(query):
    """A subscription hears only the channels of these groups: a wrong answer loses events."""
    where = query.where()
    for peer in PEERS:
        if query.matches(**peer):
            assert where is None or peer["group"] in where


@given(st.lists(FILTERS, min_size=1, max_size=3))
def test_any_and_all_mean_what_they_say(queries):
    for peer in PEERS:
        answers = [query.matches(**peer) for query in queries]
        assert AnyOf(tuple(queries)).matches(**peer) == any(answers)
        assert AllOf(tuple(queries)).matches(**peer) == all(answers)


def test_no_filter_means_everybody():
    assert all(Query().matches(**peer) for peer in PEERS)
    assert filter_of(None, "groups") == Query()


def test_each_field_narrows():
    alice = {"peer_id": ALICE_ID, "group": "render", "hub": False, "machine": "m"}
    assert Query(frozenset({"render"}), machine="m", ids=frozenset({ALICE_ID})).matches(**alice)
    assert not Query(frozenset({"sim"})).matches(**alice)
    assert not Query(hubs_only=True).matches(**alice)
    assert not Query(machine="n").matches(**alice)
    assert not Query(ids=frozenset({BOB_ID})).matches(**alice)
    assert not Query(ids=frozenset()).matches(**alice)


@pytest.mark.parametrize(
    "wish",
    [ALICE_ID, ALICE_ID.decode(), {"host": "10.0.0.1", "port": 3010, "group": "render"}, SimpleNamespace(id=ALICE_ID)],
)
def test_everything_that_names_a_peer_filters_for_it(wish):
    assert filter_of(wish, "peers") == Query(ids=frozenset({ALICE_ID}))


def test_a_str_is_a_group_where_groups_are_asked_for():
    assert filter_of("render", "groups") == Query(groups=frozenset({"render"}))
    assert filter_of("", "groups") == Query(groups=frozenset({"None"}))


def test_a_list_means_any_of_its_members_and_an_empty_one_nobody():
    both = filter_of(["render", ALICE_ID], "groups")
    assert both == AnyOf((Query(groups=frozenset({"render"})), Query(ids=frozenset({ALICE_ID}))))
    nobody = filter_of([], "groups")
    assert not any(nobody.matches(**peer) for peer in PEERS)
    assert nobody.where() == frozenset()


def test_a_listing_stands_for_its_query():
    query = Query(hubs_only=True)
    assert filter_of(SimpleNamespace(query=query), "groups") is query


@pytest.mark.parametrize("parameter", ["groups", "peers"])
@pytest.mark.parametrize("wish", [5, 1.5, object(), True])
def test_what_is_no_filter_is_a_type_error_that_names_the_parameter(parameter, wish):
    with pytest.raises(TypeError, match=f"{parameter}=.*{type(wish).__name__}"):
        filter_of(wish, parameter)


@pytest.mark.parametrize(("wish", "parameter"), [("junk", "peers"), (b"junk", "peers"), (b"junk", "groups")])
def test_what_is_no_peer_id_is_a_value_error_that_names_the_parameter(wish, parameter):
    with pytest.raises(ValueError, match=f"{parameter}="):
        filter_of(wish, parameter)


def test_groups_of_a_listing():
    assert group_names(None) is None
    assert group_names("render") == {"render"}
    assert group_names(["render", "", None]) == {"render", "None"}
    assert group_names(iter(("a", "b"))) == {"a", "b"}
    with pytest.raises(ConfigError):
        group_names("peers")


@pytest.mark.parametrize("groups", [b"render", 5, {"render": 1}, bytearray(b"x"), [b"render"], [5]])
def test_groups_that_are_none_are_a_type_error(groups):
    with pytest.raises(TypeError):
        group_names(groups)


def test_none_in_a_list_of_groups_is_no_group_and_in_a_list_of_peers_a_mistake():
    assert filter_of([None, "a"], "groups") == AnyOf(
        (Query(groups=frozenset({"None"})), Query(groups=frozenset({"a"})))
    )
    with pytest.raises(TypeError, match=r"peers=.*NoneType"):
        filter_of([None], "peers")


def test_lists_within_lists_end_somewhere():
    inner = [ALICE_ID]
    for _ in range(7):
        inner = [inner]
    assert filter_of(inner, "peers").where() == {"render"}
    inner.append(inner)
    with pytest.raises(ValueError, match="peers= takes lists at most 8 deep"):
        filter_of(inner, "peers")


def test_names_that_never_end_are_a_value_error():
    with pytest.raises(ValueError, match="groups is a list of at most 100000 names"):
        group_names(itertools.repeat("a"))

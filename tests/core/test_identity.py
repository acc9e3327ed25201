"""Peer ids: what goes in comes out, and nothing else passes for one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.identity import LONGEST_NAME, Address, came, decode_id, generate_id, group_name, host_name, text, whole
from hubnet.errors import ConfigError

HOSTS = (
    st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
    | st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,8})?", fullmatch=True)
)
GROUPS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=200).filter(
    lambda name: name != "peers"
)


@given(HOSTS, st.integers(0, 65535), GROUPS)
def test_what_an_id_was_made_of_comes_out_again(host, port, group):
    peer_id = generate_id(port, host, group)
    assert decode_id(peer_id) == Address(host, port, group)
    assert decode_id(peer_id.decode()) == Address(host, port, group)


@given(HOSTS, st.integers(0, 65535), GROUPS, HOSTS, st.integers(0, 65535), GROUPS)
def test_two_peers_never_share_an_id(host, port, group, host2, port2, group2):
    same = (host, port, group) == (host2, port2, group2)
    assert (generate_id(port, host, group) == generate_id(port2, host2, group2)) == same


def test_an_id_is_spelled_as_in_the_reference_api():
    assert generate_id(3010, "127.0.0.1", "render") == base64.b64encode(b"127.0.0.1:3010 -> render")
    assert generate_id(3010, "::1", None) == base64.b64encode(b"[::1]:3010 -> None")


@pytest.mark.parametrize("group", [None, "", "None"])
def test_no_group_has_one_spelling(group):
    assert group_name(group) == "None"
    assert decode_id(generate_id(1, "h", group)).group == "None"


def test_a_group_may_hold_the_arrow_that_ids_are_written_with():
    assert decode_id(generate_id(1, "h", "a -> b:2 -> c")).group == "a -> b:2 -> c"


def test_the_group_that_listings_use_as_a_key_is_refused():
    with pytest.raises(ConfigError, match="peers"):
        generate_id(1, "h", "peers")


@pytest.mark.parametrize("group", [b"render", 5, ["render"], True])
def test_a_group_that_is_no_str_is_named(group):
    with pytest.raises(TypeError, match=type(group).__name__):
        group_name(group)


@pytest.mark.parametrize(
    "junk",
    [b"", "", b"junk", "not base64!", "é", base64.b64encode(b"h:1"), base64.b64encode(b"h -> g"),
     base64.b64encode(b":1 -> g"), base64.b64encode(b"h:x -> g"), base64.b64encode(b"h:1 -> "),
     base64.b64encode(b"\xff:1 -> g"), base64.b64encode(b"h:1->g")],
)  # fmt: skip
def test_what_is_no_id_is_a_value_error(junk):
    with pytest.raises(ValueError, match="not a peer id"):
        decode_id(junk)


@given(st.binary(max_size=60))
def test_noise_is_never_anything_but_a_value_error(noise):
    for junk in (noise, base64.b64encode(noise)):
        try:
            decode_id(junk)
        except ValueError:
            pass


@pytest.mark.parametrize("spelling", ["{}\n", " {}", "!{}", "{}====", "{}="])
def test_an_id_has_one_spelling(spelling):
    """Ids are compared as bytes: a second spelling would be another peer."""
    with pytest.raises(ValueError, match="not a peer id"):
        decode_id(spelling.format(generate_id(3010, "10.0.0.1", "g").decode()))


@pytest.mark.parametrize(
    "text", [b"h:+1 -> g", b"h: 1 -> g", b"h:0_1 -> g", b"h:01 -> g", b"h:-1 -> g", b"h:70000 -> g"]
)
def test_a_port_has_one_spelling(text):
    with pytest.raises(ValueError, match="not a peer id"):
        decode_id(base64.b64encode(text))


@pytest.mark.parametrize("junk", [None, 5, 10**12, ["x"], bytearray(b"x"), iter("x")])
def test_an_id_is_bytes_or_str(junk):
    with pytest.raises(TypeError, match="a peer id is bytes or str, not"):
        decode_id(junk)


@pytest.mark.parametrize(
    "host",
    ["h", "render_node-1", "a.b.", "10.0.0.1", "::", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "büro", "x" * 253],
)
def test_a_host_comes_out_of_an_id_as_it_went_in(host):
    assert host_name(host) == host
    assert decode_id(generate_id(1, host)).host == host


@pytest.mark.parametrize(
    "host", ["", "a b", "h:1", "[::1]", "10.0.0.1:3010", "h -> g", "h\0", "h\n", "[", "x" * 254, ":"]
)
def test_what_no_id_could_hold_is_no_host(host):
    with pytest.raises(ConfigError, match="host is a name or an IP address"):
        generate_id(1, host)


@pytest.mark.parametrize("port", [-1, 65536, pytest.param(10**5000, id="huge")])
def test_a_port_out_of_range_is_named(port):
    with pytest.raises(ConfigError, match="port is a whole number from 0 to 65535, not int"):
        generate_id(port, "h")


@pytest.mark.parametrize("port", [True, 1.0, "1", None])
def test_no_port_passes_for_one_that_was_right_before(port):
    assert decode_id(generate_id(1, "h", "g")).port == 1
    with pytest.raises(TypeError, match="port is a whole number"):
        generate_id(port, "h", "g")


def test_names_become_plain_and_have_an_end():
    class Name(str):
        def __str__(self):
            return "another"

    assert type(text(Name("a"), "it is a str")) is str
    assert text(Name("a"), "it is a str") == "a"
    assert text("é" * (LONGEST_NAME // 2), "it is a str")
    with pytest.raises(ConfigError, match="it is a str of at most 4096 bytes in UTF-8, not of 4097"):
        text("x" * (LONGEST_NAME + 1), "it is a str")


def test_a_number_that_is_an_int_of_another_type_becomes_plain():
    class Size(int):
        pass

    assert type(whole(Size(3), "it is a number", 1, 5)) is int


@given(
    st.one_of(st.integers(), st.text(), st.binary(), st.lists(st.text()), st.floats())
    | st.just(10).map(lambda n: n**5000)
)
def test_what_came_is_told_in_short(value):
    assert came(value).startswith(type(value).__name__)
    assert len(came(value)) < 200

"""Settings: each variable of API.md A9 with its default, good and bad values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet import environment
from hubnet.core import identity
from hubnet.environment import Settings, configure, host_and_port, load, settings, sources, variable
from hubnet.errors import ConfigError

MIB = 1 << 20

# field: default, good spellings with what they mean, bad values
TABLE = {
    "group": ("", {"render": "render", "None": "", "a b:c": "a b:c", "": ""}, ["peers"]),
    "is_hub": (
        False,
        {
            "1": True,
            "true": True,
            " YES ": True,
            "On": True,
            "0": False,
            "false": False,
            "no": False,
            "OFF": False,
            "": False,
        },
        ["2", "maybe", "tru", "-1"],
    ),
    "port": (3010, {"0": 0, "65535": 65535, " 80 ": 80}, ["-1", "65536", "x", "", "3.5"]),
    "port_range": (1000, {"1": 1, "65535": 65535}, ["0", "65536", "x", ""]),
    "host": (
        "",
        {" 10.0.0.1 ": "10.0.0.1", "::1": "::1", "node_1": "node_1", "": ""},
        ["a b", "h:1", "[::1]"],
    ),
    "advertise": (
        "",
        {"farm1": "farm1", "farm1:99": "farm1:99", "[::1]:9": "[::1]:9", "": ""},
        ["a b", "h:99999", "h:x", ":1"],
    ),
    "redis_url": (
        "",
        {
            "redis://h": "redis://h",
            "rediss://:pw@h:1/0": "rediss://:pw@h:1/0",
            "unix:///run/x": "unix:///run/x",
            "": "",
        },
        ["h:6379", "http://h", "redis://", "redis+sentinel://h", "redis+cluster://h/service"],
    ),
    "redis_server": ("", {"/opt/valkey-server": "/opt/valkey-server"}, []),
    "namespace": ("default", {"farm_1.a-b": "farm_1.a-b"}, ["", "a b", "a:b", "{a}", "a*", "é", "a\n"]),
    "hubs": (
        (),
        {"h:1": (("h", 1),), "h:1, [::1]:2,": (("h", 1), ("::1", 2)), "": ()},
        ["h", "h:", "h:x", "h:1;g:2", "h:99999", "::1:3010"],
    ),
    "secret": ("", {" a , b ": "a , b"}, []),
    "secret_file": ("", {" /run/secrets/x ": "/run/secrets/x"}, []),
    "thread_limit": (32, {"1": 1, "512": 512}, ["0", "513", "x", ""]),
    "lease": (10.0, {"0.3": 0.3, "3600": 3600.0}, ["0.2", "3601", "x", "nan", "inf", ""]),
    "suspect": (3600.0, {"0": 0.0, "604800": 604800.0}, ["-1", "604801", "nan", "x"]),
    "integrity": ("header", {"full": "full", "header ": "header"}, ["", "Full", "none"]),
    "wire": (
        "auto",
        {"sealed": "sealed", " open-mac ": "open-mac", "auto": "auto", "tls": "tls"},
        ["", "Sealed", "none", "TLS"],
    ),
    "tls_cert": ("", {" host.crt ": "host.crt"}, []),
    "tls_key": ("", {" host.key ": "host.key"}, []),
    "tls_ca": ("", {" ca.crt ": "ca.crt"}, []),
    "link_limit": (
        (10_000, 1_000),
        {"5, 2": (5, 2), "7,7": (7, 7)},
        ["5", "2,5", "0,0", "x,1", "", "1,0", "1000001,1"],
    ),
    "stranger_limit": ((512, 256), {"5,2": (5, 2)}, ["5", "2,5", "0,0", "x", ""]),
    "call_limit": (16 << 30, {"1MiB": MIB, " 2 GB ": 2 << 30, "1048576": MIB}, ["1048575", "2TiB", "x", "", "-1"]),
    "dial_back_limit": (20, {"1": 1}, ["0", "x", "1000001"]),
    "outbox": (
        (64 * MIB, 200_000),
        {"1": (1, 200_000), "8MiB": (8 * MIB, 200_000), "1GB,5": (1 << 30, 5), "2 KiB , 7": (2048, 7)},
        ["0", "x", "1TiB", "-1", "1,2,3", "", "1,x"],
    ),
    "event_limit": (4 * MIB, {"1024": 1024, str(64 * MIB): 64 * MIB}, ["1023", str(64 * MIB + 1), "1MiB", ""]),
    "stream_length": (10_000, {"1": 1, "10000000": 10_000_000}, ["0", "x", "", "10000001"]),
    "timeout": (30.0, {"0.05": 0.05, "86400": 86400.0}, ["0", "86401", "nan", "x", ""]),
    "autostart": (True, {"0": False, "1": True}, ["2"]),
    "dev": (False, {"1": True}, ["2"]),
}
GOOD = [(field, text, value) for field, (_, good, _) in TABLE.items() for text, value in good.items()]
BAD = [(field, text) for field, (_, _, bad) in TABLE.items() for text in bad]


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has read no settings yet, and nothing in its environment."""
    monkeypatch.setattr(environment, "_settings", None)
    monkeypatch.setattr(environment, "_wishes", {})
    for field in TABLE:
        monkeypatch.delenv(variable(field), raising=False)


def test_the_table_has_every_setting():
    assert set(TABLE) == set(Settings._fields)
    assert all(variable(field) == f"HUBNET_{field.upper()}" for field in TABLE)


@pytest.mark.parametrize("field", TABLE)
def test_each_setting_has_its_default(field):
    assert getattr(settings(), field) == TABLE[field][0]
    assert sources()[field] == "default"


@pytest.mark.parametrize(("field", "text", "value"), GOOD)
def test_a_good_value_is_understood_from_the_environment_and_from_configure(field, text, value):
    seen, told = load({variable(field): text}, {})
    assert getattr(seen, field) == value
    assert type(getattr(seen, field)) is type(value)
    assert told[field] == variable(field)
    configure(**{field: text})
    assert getattr(settings(), field) == value
    assert sources()[field] == "configure()"


@pytest.mark.parametrize(("field", "text"), BAD)
def test_a_bad_value_is_an_error_that_names_the_variable_the_value_and_what_is_allowed(field, text, monkeypatch):
    monkeypatch.setenv(variable(field), text)
    for ask in (settings, lambda: configure(**{field: text})):
        with pytest.raises(ConfigError, match=r"allowed: .+") as caught:
            ask()
        assert variable(field) in str(caught.value)
        assert repr(text) in str(caught.value)
        assert caught.value.__cause__ is None


def test_configure_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("HUBNET_GROUP", "environment")
    monkeypatch.setenv("HUBNET_PORT", "9999")
    configure(group="code", port=0)
    assert (settings().group, settings().port) == ("code", 0)


def test_a_bad_value_is_refused_even_where_configure_wins_over_it(monkeypatch):
    monkeypatch.setenv("HUBNET_PORT", "99999")
    configure(port=0)
    with pytest.raises(ConfigError, match="HUBNET_PORT: '99999' is not allowed"):
        settings()


@pytest.mark.parametrize(
    ("wish", "value"),
    [
        ({"is_hub": True}, True), ({"is_hub": False}, False), ({"port": 0}, 0), ({"group": None}, ""),
        ({"lease": 2}, 2.0), ({"hubs": [("h", 1), "g:2"]}, (("h", 1), ("g", 2))), ({"hubs": []}, ()),
        ({"secret": ["one", "two"]}, "one,two"), ({"autostart": False}, False),
        pytest.param({"outbox": (1024, 5)}, (1024, 5)),
        pytest.param({"hubs": [("::1", 3010)]}, (("::1", 3010),)),
    ],
    ids=str,
)  # fmt: skip
def test_configure_takes_values_of_the_settings_own_types(wish, value):
    configure(**wish)
    assert getattr(settings(), next(iter(wish))) == value


@pytest.mark.parametrize(
    "wish",
    [{"group": 5}, {"group": b"g"}, {"host": ["h"]}, {"port": True}, {"port": [5]}, {"is_hub": 1j}, {"hubs": [("h",)]},
     {"hubs": {"h": 1}}, {"secret": 5}, {"outbox": (1, 2.5)}, {"lease": ()}],
    ids=str,
)  # fmt: skip
def test_configure_refuses_values_of_other_types(wish):
    field, value = next(iter(wish.items()))
    with pytest.raises(ConfigError, match=rf"configure\({field}=…\): {type(value).__name__} .* allowed: "):
        configure(**wish)


def test_a_path_may_be_one_that_utf_8_cannot_hold():
    configure(secret_file=Path(os.fsdecode(b"/run/\xff")), redis_server=Path("/opt/server"))
    assert settings().secret_file == "/run/\udcff"
    assert settings().redis_server == "/opt/server"


def test_a_group_here_is_a_group_in_an_id():
    assert environment.LONGEST_NAME == identity.LONGEST_NAME


def test_configure_refuses_an_unknown_setting_and_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"'prot'.*\bport\b"):
        configure(prot=1)


def test_configure_takes_all_or_nothing():
    with pytest.raises(ConfigError):
        configure(group="code", port=-1)
    assert settings().group == ""


def test_configure_comes_too_late_once_settings_were_read():
    first = settings()
    with pytest.raises(ConfigError, match="too late"):
        configure(group="code")
    configure()
    assert settings() is first


def test_settings_are_read_once_and_immutable(monkeypatch):
    first = settings()
    monkeypatch.setenv("HUBNET_GROUP", "later")
    assert settings() is first
    with pytest.raises(AttributeError):
        first.group = "x"


def test_a_later_configure_adds_to_an_earlier_one():
    configure(group="a", port=1)
    configure(port=2)
    assert (settings().group, settings().port) == ("a", 2)


# -- secrets ---------------------------------------------------------------------------------------------------------

HIDDEN = "hidden-word-42"


@pytest.mark.parametrize("url", [f"rediss:/:{HIDDEN}@h", f"http://:{HIDDEN}@h", f"redis+sentinel://u:{HIDDEN}@h"])
def test_a_bad_url_is_shown_without_its_password(url):
    with pytest.raises(ConfigError, match="HUBNET_REDIS_URL") as caught:
        load({"HUBNET_REDIS_URL": url}, {})
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:sesame/open@127.0.0.1:1/0", ["sesame", "open"]),
        ("redis://user:sesame#open@h:1/0", ["user", "sesame", "open"]),
        ("redis://user:pw#x@h:1/0", ["pw", "#x"]),
        ("redis://user:sesame?open@h:1/0", ["sesame", "open"]),
        ("redis://user:sesame[open@h:1/0", ["sesame", "open"]),
        ("redis://:sesame/0@open@h:port/0", ["sesame", "open"]),
        ("redis://h:abc?password=sesame", ["sesame"]),
        ("unix://:sesame@", ["sesame"]),
        ("redis://:sesame", ["sesame"]),
        ("redis://user:sesame", ["sesame"]),
        ("redis://h/abc", []),
        ("redis://h/1/2", []),
        ("unix://", []),
        ("redis://h:abc", []),
        ("redis://h:99999", []),
        ("redis://[::1/0", []),
        ("redis://:1/0#part", []),
    ],
)
def test_a_malformed_url_names_its_variable_and_no_part_of_the_password(url, words):
    for environ, wishes in (({"HUBNET_REDIS_URL": url}, {}), ({}, {"redis_url": url})):
        with pytest.raises(ConfigError, match=r"HUBNET_REDIS_URL.*allowed: ") as caught:
            load(environ, wishes)
        shown = str(caught.value).partition(" is not allowed")[0]
        assert not [word for word in words if word in shown]
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["redis://:a%2Fb%23c%40d@h:1/0", "redis://u:p@[::1]:1/0", "unix://:pw@/run/x", "rediss://h"]
)
def test_a_well_formed_url_is_taken_as_it_is(url):
    assert load({"HUBNET_REDIS_URL": url}, {})[0].redis_url == url


def test_no_error_about_another_variable_shows_a_secret():
    with pytest.raises(ConfigError) as caught:
        load({"HUBNET_SECRET": HIDDEN, "HUBNET_PORT": "x", "HUBNET_REDIS_URL": f"redis://:{HIDDEN}@h"}, {})
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_settings_do_not_show_their_secrets(show):
    shown = show(Settings(secret=HIDDEN, redis_url=f"redis://u:{HIDDEN}@h"))
    assert HIDDEN not in shown


# -- addresses -------------------------------------------------------------------------------------------------------


@given(st.ip_addresses(v=4).map(str) | st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.integers(0, 65535))
def test_a_host_and_port_are_split(host, port):
    assert host_and_port(f"{host}:{port}") == (host, port)
    assert host_and_port(host, default_port=7) == (host, 7)


@given(st.ip_addresses(v=6).map(str), st.integers(0, 65535))
def test_a_v6_address_stands_in_brackets(host, port):
    assert host_and_port(f"[{host}]:{port}") == (host, port)
    assert host_and_port(f"[{host}]", default_port=7) == (host, 7)


@pytest.mark.parametrize("text", ["[", "]", "[]", "[]:1", "[h", "h]:1", "[h]", ":1", "", " "])
def test_brackets_stand_around_a_v6_address_only(text):
    with pytest.raises(ValueError, match="host"):
        host_and_port(text, 1)


@given(st.text(max_size=20))
def test_noise_is_split_or_a_value_error(text):
    try:
        host, port = host_and_port(text, 1)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65535


@given(st.sampled_from(sorted(TABLE)), st.text(max_size=20))
def test_noise_is_a_setting_or_a_config_error(field, text):
    try:
        load({variable(field): text}, {})
    except ConfigError as error:
        assert variable(field) in str(error)

"""``hubnet config``."""

from __future__ import annotations

import json

from hubnet.environment import Settings, variable
from tests.conftest import Net

SECRET = "a passphrase, long and dear"


def test_every_setting_is_shown_with_its_source(net: Net) -> None:
    said = json.loads(net.cli("config", "--json", HUBNET_GROUP="render", HUBNET_HUBS="hub-1:3010,[::1]:4").stdout)

    assert list(said) == [variable(field) for field in Settings._fields]
    assert said["HUBNET_GROUP"] == {"value": "render", "source": "HUBNET_GROUP"}
    assert said["HUBNET_LEASE"] == {"value": 10.0, "source": "default"}
    assert said["HUBNET_HUBS"]["value"] == ["hub-1:3010", "[::1]:4"]


def test_the_table_has_a_line_for_every_setting(net: Net) -> None:
    done = net.cli("config", HUBNET_GROUP="render")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1 + len(Settings._fields)
    assert any(line.split() == ["HUBNET_GROUP", "render", "the", "environment"] for line in done.stdout.splitlines())


def test_secrets_and_passwords_are_never_shown(net: Net) -> None:
    for words in ([], ["--json"]):
        done = net.cli(
            "config", *words, HUBNET_SECRET=SECRET, HUBNET_REDIS_URL="redis://me:pa%2Fss@host:1/0?password=pass"
        )

        assert done.returncode == 0
        assert SECRET not in done.stdout + done.stderr
        assert "(set, hidden)" in done.stdout
        assert "redis://me:***@host:1/0?password=***" in done.stdout


def test_a_variable_that_is_no_setting_is_pointed_out(net: Net) -> None:
    done = net.cli("config", HUBNET_GRUOP="render")

    assert done.returncode == 0
    assert "HUBNET_GRUOP" in done.stderr

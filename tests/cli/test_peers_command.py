"""``hubnet peers``."""

from __future__ import annotations

import json
import time

from tests.conftest import Net

TASKS = """
import hubnet

@hubnet.connect("add")
def add(a, b=1):
    return a + b

@hubnet.subscribe("done")
def on_done(*args, **kwargs):
    pass
"""


def test_json_gives_each_peer_s_record_by_its_id(net: Net) -> None:
    net.hub()
    net.worker(TASKS, HUBNET_GROUP="render")

    done = net.cli("peers", "--json", "--wait", "2")

    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert sorted(record["group"] for record in records.values()) == ["None", "render"]
    worker = next(record for record in records.values() if record["group"] == "render")
    assert worker["connections"] == ["add"]
    assert not worker["hub"]
    assert all(isinstance(peer_id, str) for peer_id in records)


def test_the_table_has_one_line_for_each_peer_and_readable_tags(net: Net) -> None:
    hub = net.hub()
    net.worker(TASKS + "@hubnet.connect\ndef render(): pass\n", HUBNET_GROUP="render")

    done = net.cli("peers", "--wait", "2")

    head, first, second = done.stdout.splitlines()
    assert head.split()[:4] == ["peer", "group", "hub", "state"]
    assert first.split()[0] in hub.out
    assert "add, tasks.render" in second


def test_the_command_itself_is_not_listed(net: Net) -> None:
    net.hub()

    for _ in range(2):
        assert len(json.loads(net.cli("peers", "--json", "--wait", "1").stdout)) == 1


def test_groups_and_hubs_only_filter(net: Net) -> None:
    net.hub()
    net.worker(TASKS, HUBNET_GROUP="render")
    net.cli("peers", "--wait", "2")

    assert len(json.loads(net.cli("peers", "render", "--json").stdout)) == 1
    assert len(json.loads(net.cli("peers", "--hubs-only", "--json").stdout)) == 1
    assert len(json.loads(net.cli("peers", "--on-host", "--json").stdout)) == 2
    nobody = net.cli("peers", "absent", "--json")
    assert (nobody.returncode, json.loads(nobody.stdout)) == (0, {})


def test_waiting_for_more_peers_than_come_is_exit_code_3_in_time(net: Net) -> None:
    net.hub()

    begin = time.monotonic()
    done = net.cli("peers", "--wait", "5", "--timeout", "0.5")

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert " of 5 peers" in done.stderr
    assert time.monotonic() - begin < 5


def test_a_worker_s_port_and_advertised_name_do_not_mislead_a_command_in_its_environment(net: Net) -> None:
    net.hub()

    done = net.cli("peers", "--json", "--wait", "1", HUBNET_ADVERTISE="no-such-host.invalid:1", HUBNET_IS_HUB="1")

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1


def test_escape_sequences_in_names_do_not_reach_the_terminal(net: Net) -> None:
    net.hub()
    net.worker("import hubnet\n@hubnet.connect('a\\x1b[31mb[bold]')\ndef f(): pass\n", HUBNET_GROUP="evil\x1b]0;t\x07")

    done = net.cli("peers", "--wait", "2")

    assert "\x1b" not in done.stdout
    assert r"a\x1b[31mb[bold]" in done.stdout
    assert r"evil\x1b]0;t\x07" in done.stdout


def test_wait_with_on_host_is_refused_with_the_reason(net: Net) -> None:
    done = net.cli("peers", "--wait", "1", "--on-host")

    assert done.returncode == 2
    assert "--on-host" in done.stderr

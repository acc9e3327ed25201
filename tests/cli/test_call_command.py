"""``hubnet call``."""

from __future__ import annotations

import json
import time

import pytest

from tests.conftest import Net

TASKS = """
import threading
import hubnet

@hubnet.connect("add")
def add(a, b=1):
    return a + b

@hubnet.connect("given")
def given(*args, **kwargs):
    return args, kwargs

@hubnet.connect
def boom(what):
    raise ValueError("bad \\x1b[31m" + what)

@hubnet.connect("slow")
def slow():
    threading.Event().wait(20)
"""


@pytest.fixture
def port(net: Net) -> str:
    """The port of a worker of group render that is registered and open."""
    net.hub()
    worker = net.worker(TASKS, HUBNET_GROUP="render")
    assert net.cli("peers", "--wait", "1", "render").returncode == 0
    return worker.out.partition("127.0.0.1:")[2].partition(",")[0]


def test_a_target_is_a_group_an_address_or_an_id(net: Net, port: str) -> None:
    peer_id = next(iter(json.loads(net.cli("peers", "render", "--json").stdout)))

    for target in ("render", f"127.0.0.1:{port}", peer_id):
        done = net.cli("call", target, "add", "2", "b=3")

        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_arguments_are_json_where_they_can_be(net: Net, port: str) -> None:
    words = ["1", "-2.5", "null", "[1, {}]", '"7"', "plain text", "NaN", 'x="a=b"', "y=true", "--", "--json", "a b=c"]
    done = net.cli("call", "--json", "render", "given", *words)

    assert done.returncode == 0, done.stderr
    args, kwargs = json.loads(done.stdout)
    assert args == [1, -2.5, None, [1, {}], "7", "plain text", "NaN", "--json", "a b=c"]
    assert kwargs == {"x": "a=b", "y": True}


def test_a_dotted_path_names_a_function_without_a_tag(net: Net, port: str) -> None:
    done = net.cli("call", "render", "tasks.boom", "x")

    assert done.returncode == 1
    assert "raised ValueError: bad" in done.stderr


def test_built_in_connections_can_be_called(net: Net, port: str) -> None:
    for target in ("render", f"127.0.0.1:{port}"):
        assert json.loads(net.cli("call", target, "hubnet.info", "--json").stdout)["group"] == "render"


def test_what_the_function_raised_is_told_with_its_traceback_and_no_escape_sequence(net: Net, port: str) -> None:
    done = net.cli("call", f"127.0.0.1:{port}", "tasks.boom", "red")

    assert done.returncode == 1
    first = done.stderr.splitlines()[0]
    assert first.startswith("hubnet: ")
    assert r"bad \x1b[31mred" in first
    assert 'tasks.py", line ' in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stdout == ""


def test_a_call_that_takes_too_long_is_exit_code_4(net: Net, port: str) -> None:
    begin = time.monotonic()
    done = net.cli("call", "render", "slow", "--timeout", "1")

    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - begin < 8


def test_a_tag_that_nobody_has_is_told_with_those_there_are(net: Net, port: str) -> None:
    in_group = net.cli("call", "render", "nothing")
    at_peer = net.cli("call", f"127.0.0.1:{port}", "nothing")

    assert (in_group.returncode, at_peer.returncode) == (3, 1)
    for done in (in_group, at_peer):
        assert done.stderr.count("\n") == 1
        assert "tasks.boom" in done.stderr


def test_a_target_that_is_nobody_is_exit_code_3(net: Net, port: str) -> None:
    no_group = net.cli("call", "paint", "add")
    no_peer = net.cli("call", "127.0.0.1:1", "add")

    assert (no_group.returncode, no_peer.returncode) == (3, 3)
    assert "None, render" in no_group.stderr
    assert "nobody listens there" in no_peer.stderr


def test_wrong_words_are_usage_errors(net: Net) -> None:
    for words in (["a=1", "a=2"], ["timeout=5"], ["--timeout", "-1"], ["--timeout", "nan"]):
        assert net.cli("call", "render", "add", *words).returncode == 2, words

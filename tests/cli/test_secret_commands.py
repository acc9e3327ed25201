"""``hubnet secret``: what peers accept, and the three steps of an exchange."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hubnet.core.keys import Keyring, new_token, seed_of
from tests.conftest import Net
from tests.waiting import eventually

FIRST, SECOND = (new_token(bytes([byte]) * 32) for byte in b"ab")
TASKS = "import hubnet\n@hubnet.connect('echo')\ndef echo(n): return n\n"

WAITS = """
import pathlib, time
@hubnet.connect("wait")
def wait():
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
"""


def kid(secret: str) -> str:
    """The key id of a secret."""
    return Keyring.of([secret], "default").first.kid.hex()


FORGED = "\x1b[31m\n127.0.0.1:1 (w): does not say: nothing"
LIES = f"""
import hubnet
@hubnet.connect("hubnet:secrets")
def lie():
    raise ValueError({FORGED!r})
"""


@pytest.fixture
def file(net: Net) -> Path:
    made = net.folder / "secrets"
    put(made, "# kept", FIRST)
    net.env["HUBNET_SECRET_FILE"] = str(made)
    return made


def put(file: Path, *lines: str) -> None:
    """Write a private file."""
    draft = file.with_suffix(".draft")
    draft.write_text("\n".join(lines))
    draft.chmod(0o600)
    draft.replace(file)


def secrets_in(file: Path) -> list[str]:
    """Its secrets."""
    return [line for line in file.read_text().splitlines() if not line.startswith("#")]


def said(net: Net) -> dict[str, dict[str, object]]:
    """What every peer says."""
    return json.loads(net.cli("secret", "status", "--json").stdout)


def test_each_new_secret_is_another_that_hubnet_accepts(net: Net) -> None:
    secrets = [net.cli("secret", "new").stdout.strip() for _ in range(2)]

    assert secrets[0] != secrets[1]
    assert all(len(seed_of(secret, "default")) == 32 for secret in secrets)


def test_three_steps_exchange_the_secret_of_a_net_that_goes_on(net: Net, file: Path) -> None:
    net.hub()
    net.worker(TASKS, "--group", "w")
    assert all(one["accepted"] == [kid(FIRST)] for one in said(net).values())

    assert net.cli("secret", "rotate", "add").returncode == 0
    first, fresh = secrets_in(file)
    assert first == FIRST
    assert "# kept" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    eventually(lambda: all(one["accepted"] == [kid(FIRST), kid(fresh)] for one in said(net).values()))

    assert net.cli("secret", "rotate", "use").returncode == 0
    assert secrets_in(file) == [fresh, FIRST]
    eventually(lambda: all(one["accepted"] == [kid(fresh), kid(FIRST)] for one in said(net).values()))
    table = net.cli("secret", "status").stdout.splitlines()
    assert any(line.split()[:3] == [kid(fresh), "2", "2"] for line in table)
    assert any(line.split()[:3] == [kid(FIRST), "2", "0"] for line in table)

    eventually(lambda: net.cli("secret", "rotate", "drop").returncode == 0)
    assert secrets_in(file) == [fresh]
    eventually(lambda: all(one["accepted"] == [kid(fresh)] for one in said(net).values()))
    assert net.cli("call", "w", "echo", "5").stdout.strip() == "5"
    assert not [line for line in said(net).values() if kid(FIRST) in line["links"]]  # type: ignore[operator]


def test_use_is_refused_while_a_peer_does_not_accept_the_secret(net: Net, file: Path) -> None:
    other = net.folder / "others"
    put(other, FIRST)
    net.hub()
    worker = net.worker(TASKS, "--group", "w", HUBNET_SECRET_FILE=str(other))
    assert net.cli("secret", "rotate", "add").returncode == 0
    before = file.read_text()

    done = net.cli("secret", "rotate", "use")
    assert done.returncode == 1
    assert "(w) does not accept it" in done.stderr
    assert file.read_text() == before

    put(other, *secrets_in(file))
    eventually(lambda: net.cli("secret", "rotate", "use").returncode == 0)
    assert worker.code is None


def test_drop_is_refused_while_a_peer_uses_the_secret_or_a_call_runs_under_it(net: Net, file: Path) -> None:
    go, begun = net.folder / "go", net.folder / "begun"
    put(file, FIRST, SECOND)
    net.hub()
    net.worker(TASKS + WAITS, "--group", "w")
    calling = net.run("python", "-m", "hubnet", "call", "w", "wait")
    eventually(begun.exists)

    put(file, SECOND, FIRST)
    eventually(lambda: all(one["accepted"] == [kid(SECOND), kid(FIRST)] for one in said(net).values()))
    done = net.cli("secret", "rotate", "drop")
    assert done.returncode == 1
    assert "links stand under it" in done.stderr
    assert secrets_in(file) == [SECOND, FIRST]

    go.touch()
    assert calling.wait() == 0
    eventually(lambda: net.cli("secret", "rotate", "drop").returncode == 0)
    assert secrets_in(file) == [SECOND]


def test_a_peers_own_words_steer_no_terminal_and_forge_no_line(net: Net, file: Path) -> None:
    net.hub()
    net.worker(LIES, HUBNET_GROUP=f"liars{FORGED}")
    assert net.cli("peers", "--wait", "2").returncode == 0

    done = net.cli("secret", "status")

    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()  # at a pipe click leaves escape sequences out by itself
    assert line.count(r"\x1b[31m\n127.0.0.1:1 (w)") == 2, line
    assert "Traceback" not in line


@pytest.mark.parametrize("step", ["use", "drop"])
def test_a_step_that_does_not_come_next_is_refused_and_changes_nothing(net: Net, file: Path, step: str) -> None:
    done = net.cli("secret", "rotate", step)

    assert done.returncode == 2
    assert "begin with `hubnet secret rotate add`" in done.stderr
    assert secrets_in(file) == [FIRST]


def test_add_wants_to_know_which_file(net: Net) -> None:
    done = net.cli("secret", "rotate", "add")

    assert done.returncode == 2
    assert "HUBNET_SECRET_FILE" in done.stderr


def test_a_file_that_others_can_read_is_refused(net: Net, file: Path) -> None:
    os.chmod(file, 0o644)  # noqa: PTH101
    done = net.cli("secret", "rotate", "add")

    assert done.returncode == 2
    assert "chmod 600" in done.stderr


def test_a_secret_in_the_place_of_its_file_is_not_shown(net: Net) -> None:
    done = net.cli("secret", "rotate", "add", "--file", FIRST)

    assert done.returncode == 2
    assert "the name of a file" in done.stderr
    assert FIRST[8:] not in done.stdout + done.stderr

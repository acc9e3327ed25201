"""The command line as a whole: its help, its exit codes, its manners."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubnet.cli import _COMMANDS, commands
from hubnet.cli.shown import as_json, masked, shown
from tests.conftest import Net
from tests.waiting import eventually


def test_the_help_names_every_command_and_the_exit_codes(net: Net) -> None:
    done = net.cli("--help")

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in _COMMANDS)
    assert "130  Ctrl-C" in done.stdout


def test_the_help_imports_no_command_and_nothing_that_talks_or_computes(net: Net) -> None:
    code = (
        "import sys\nimport click, rich\nbefore = set(sys.modules)\n"
        "from hubnet.cli import commands\ntry:\n    commands(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=net.env, capture_output=True, text=True, check=False)
    imported = set(done.stderr.split())

    assert {"hubnet.cli", "hubnet.errors"} <= imported, done.stderr
    assert {name.partition(".")[0] for name in imported} <= {"hubnet", "click", *sys.stdlib_module_names}
    assert not imported & {"socket", "select", "ssl", "subprocess", "asyncio", "multiprocessing", "tempfile"}
    assert {name for name in imported if name.startswith("hubnet.cli.")} == {"hubnet.cli.ending", "hubnet.cli.shown"}
    assert not imported & {"hubnet.parts", "hubnet.broker", "hubnet.hub", "hubnet.links.link", "hubnet.bus.publisher"}


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_packages_the_command_says_what_to_install(net: Net, missing: str) -> None:
    code = f"import sys\nsys.modules[{missing!r}] = None\nfrom hubnet.__main__ import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], env=net.env, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "hubnet: the command line needs click and rich: pip install 'hubnet[cli]'\n"


def test_a_command_that_does_not_exist_is_a_usage_error(net: Net) -> None:
    done = net.cli("pears")

    assert done.returncode == 2
    assert "No such command 'pears'" in done.stderr


def test_the_summaries_in_the_help_are_those_of_the_commands() -> None:
    for name, place in _COMMANDS.items():
        if name != "demo":
            command = commands.get_command(None, name)  # type: ignore[arg-type]
            assert command is not None
            assert command.help
            assert place.name == name


def test_a_command_that_cannot_be_imported_breaks_no_other(net: Net) -> None:
    code = (
        "import sys\nsys.modules['hubnet.cli.demo'] = None\nfrom hubnet.cli import command\n"
        "sys.argv = ['hubnet', *sys.argv[1:]]\ncommand()"
    )
    ran = [
        subprocess.run([sys.executable, "-c", code, *args], env=net.env, capture_output=True, text=True, check=False)
        for args in (["demo"], ["secret", "new"])
    ]

    assert ran[0].returncode == 2
    assert ran[0].stderr.count("\n") == 1
    assert "pip install 'hubnet[demo]'" in ran[0].stderr
    assert ran[1].returncode == 0


def test_a_url_of_redis_that_cannot_be_is_one_line_without_the_password_and_exit_code_2(net: Net) -> None:
    urls = (
        "redis://:sesame/open@127.0.0.1:1/0", "redis://h:abc", "redis://[::1/0", "redis://user:sesame#open@h:1/0", "unix://",
        "redis://:sesame@127.0.0.1:1/0?socket_timeout=abc", "redis://:sesame@127.0.0.1:1/0?bogus=1",
        "rediss://:sesame@127.0.0.1:1/0?ssl_cert_reqs=bogus", "unix:///run/redis.sock?password=sesame&bogus=1",
    )  # fmt: skip
    for url in urls:
        done = net.cli("peers", HUBNET_REDIS_URL=url, HUBNET_TIMEOUT="2", HUBNET_SECRET="long enough a passphrase")

        errors = [line for line in done.stderr.splitlines() if line.startswith("hubnet: ")]
        assert (done.returncode, done.stdout) == (2, ""), (url, done.stderr)
        assert len(errors) == 1, (url, done.stderr)
        assert "HUBNET_REDIS_URL" in errors[0], (url, done.stderr)
        assert done.stderr.count("\n") == 1, (url, done.stderr)
        assert "Traceback" not in done.stderr, url
        assert "sesame" not in done.stderr, url
        assert "open@" not in done.stderr, url


def test_no_hub_is_one_line_and_exit_code_3(net: Net) -> None:
    done = net.cli("peers", "--timeout", "0.3")

    assert done.returncode == 3
    assert done.stderr.startswith("hubnet: ")
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_is_one_line_and_exit_code_2(net: Net) -> None:
    for command in (["peers"], ["hub"], ["config"], ["health"], ["emit", "done"], ["listen", "done"]):
        done = net.cli(*command, HUBNET_LEASE="soon")

        assert done.returncode == 2, command
        assert done.stderr == (
            "hubnet: HUBNET_LEASE: 'soon' is not allowed for HUBNET_LEASE; allowed: seconds from 0.3 to 3600\n"
        ), command


def test_a_wrong_setting_is_told_even_to_a_command_that_has_no_use_for_it(net: Net) -> None:
    for command in (["peers"], ["call", "render", "where"], ["emit", "done"], ["listen", "done"]):
        done = net.cli(*command, HUBNET_PORT="front door")

        assert done.returncode == 2, command
        assert "HUBNET_PORT: 'front door' is not allowed" in done.stderr, command
        assert done.stderr.count("\n") == 1, command


def test_ctrl_c_ends_with_130_and_no_word(net: Net) -> None:
    net.hub()
    listening = net.run("python", "-m", "hubnet", "listen", "done").wait_for("listening for")
    before = listening.err

    listening.signal(signal.SIGINT)

    assert listening.wait() == 130
    assert listening.err == before


def test_ctrl_c_while_waiting_for_a_hub_ends_at_once(net: Net) -> None:
    waiting = net.run("python", "-m", "hubnet", "peers", "--timeout", "60")
    eventually(lambda: _threads(waiting.pid) > 1)

    begin = time.monotonic()
    waiting.signal(signal.SIGINT)

    assert waiting.wait() == 130
    assert time.monotonic() - begin < 5
    assert "Traceback" not in waiting.err


def test_a_reader_that_goes_away_is_no_error(net: Net) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hubnet", "config"], env=net.env, stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)

    assert done.returncode == 141
    assert done.stderr == b""


def test_control_characters_are_spelled_out() -> None:
    assert shown("red\x1b[31m\u202etxt") == r"red\x1b[31m\u202etxt"
    assert shown("schön") == "schön"


def test_passwords_in_urls_are_masked_wherever_they_stand() -> None:
    assert masked("redis://worker:se/cr@t@redis:6379/0") == "redis://worker:***@redis:6379/0"
    assert masked("redis://:secret@redis") == "redis://:***@redis"
    assert masked("redis://secret@redis") == "redis://***@redis"
    assert masked("unix:///run/redis.sock?db=1&password=secret") == "unix:///run/redis.sock?db=1&password=***"
    assert masked("rediss://h?ssl_password=secret&db=1") == "rediss://h?ssl_password=***&db=1"
    assert masked("redis://h?p%61ssword=secret&db=1") == "redis://h?p%61ssword=***&db=1"
    sentinels = "redis+sentinel://u:{0}@s1:26379,s2/svc?sentinel_username=g&sentinel_password={0}"
    assert masked(sentinels.format("secret")) == sentinels.format("***")
    assert masked("redis://127.0.0.1:6379/0") == "redis://127.0.0.1:6379/0"


def test_any_value_becomes_strict_json() -> None:
    assert as_json({b"id": (1, float("nan"), {1, 2}), 3: None}) == '{"id": [1, "nan", "{1, 2}"], "3": null}'
    endless: list[object] = []
    endless.append(endless)
    assert as_json(endless)


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0

"""The command line as a whole: its help, its exit codes, its manners."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from hubnet.cli import _COMMANDS, commands
from hubnet.cli.shown import as_json, masked, shown
from tests.conftest import Net
from tests.waiting import eventually


def test_the_help_names_every_command_and_the_exit_codes(net: Net) -> None:
    done = net.cli("--help")

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in _COMMANDS)
    assert "130  Ctrl-C" in done.stdout


def test_the_help_imports_neither_redis_nor_rich_tables_nor_any_command(net: Net) -> None:
    code = (
        "import sys\nfrom hubnet.cli import commands\ntry:\n    commands(['--help'])\nexcept SystemExit:\n    pass\n"
        "wrong = {'redis', 'rich.table', 'mitsuba', *('hubnet.cli.' + name for name in "
        "('serving', 'listing', 'calling', 'events', 'settings', 'health', 'demo'))}\n"
        "sys.exit(', '.join(wrong & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=net.env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_help_costs_little(net: Net) -> None:
    net.cli("--help")  # compiles what was not compiled yet
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        net.cli("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(took) < 0.6  # of a core: 0.17 s alone; a busy machine makes it dearer, by caches and clocks


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

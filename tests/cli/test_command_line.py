"""The command line as a whole: its help, its exit codes, its manners."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubnet.cli import _COMMANDS, commands
from hubnet.cli.shown import as_json, masked, shown, shown_arguments, shown_value
from hubnet.errors import HubnetError
from tests.conftest import Net
from tests.waiting import eventually

LARGE = """
import hubnet
@hubnet.connect("doubled")
def doubled():
    within = []
    for _ in range(23):
        within = [within, within]
    return within
@hubnet.connect("digits")
def digits():
    return 10 ** 5000
"""


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


def doubled(times: int) -> object:
    """Lists that share: a few here, 2 ** times written out."""
    within: object = None
    for number in range(times):
        within = [within, within] if number % 2 else {"a": within, "b": (within,)}
    return within


def nested(times: int, within: object) -> object:
    """A value in a list in a list …."""
    for _ in range(times):
        within = [within]
    return within


def crowded(size: int) -> list[object]:
    """Lists of which each holds all."""
    all_of_them: list[object] = [[] for _ in range(size)]
    for one in all_of_them:
        one.extend(all_of_them)  # type: ignore[attr-defined]
    return all_of_them


def holding_itself() -> tuple[list[object], dict[str, object]]:
    """A list and a dict that are parts of themselves, and twice."""
    endless: list[object] = [1]
    named: dict[str, object] = {"self": endless}
    endless += [endless, named, endless]
    named["me"] = named
    return endless, named


def test_what_is_a_part_of_itself_is_written_once() -> None:
    endless, named = holding_itself()
    assert json.loads(as_json(endless)) == [1, "[...]", {"self": "[...]", "me": "{...}"}, "[...]"]
    assert json.loads(as_json(named)) == {"self": [1, "[...]", "{...}", "[...]"], "me": "{...}"}
    assert shown_value(endless) == "[1, [...], {'self': [...], 'me': {...}}, [...]]"
    again = [endless, endless]
    assert as_json(again) == f"[{as_json(endless)}, {as_json(endless)}]"
    assert json.loads(as_json(doubled(12)))


def sets_that_share() -> object:
    """The same as a key: a frozenset remembers its hash."""
    within: object = frozenset()
    for _ in range(18):
        within = frozenset([(within, 1), (within, 2)])
    return within


HUGE = {
    "lists that share": lambda: doubled(18), "deep ones": lambda: nested(60, doubled(18)),
    "beside a set": lambda: [{1}, doubled(18)], "sets in a key": lambda: {sets_that_share(): 1},
    "lists of each other": lambda: crowded(8), "one text": lambda: ["x" * 1_000_000] * 300,
    "bytes": lambda: {1: [b"x" * 1_000_000] * 300},
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_what_would_fill_the_disk_written_out_is_refused_in_one_line(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubnet.cli.shown._MOST_ITEMS", 1 << 16)
    value = HUGE[kind]()
    for write in (
        as_json,
        shown_value,
        lambda one: shown_arguments((one,), {}),
        lambda one: shown_arguments((), {"a": one}),
    ):
        with pytest.raises(HubnetError, match=r"more than 65536 items or 268435456 characters.*from Python") as caught:
            write(value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [10**5000, [-(10**5000)], {"a": {10**5000: 1}}, {10**5000}], ids=["itself", "listed", "a key", "in a set"]
)
def test_an_integer_that_python_does_not_write_is_refused_with_what_to_do(value: object) -> None:
    for write in (as_json, shown_value):
        with pytest.raises(HubnetError, match=r"integer of 16610 bits.*PYTHONINTMAXSTRDIGITS=0"):
            write(value)
    assert as_json(10**4000) == "1" + "0" * 4000


def test_a_large_result_is_one_line_on_standard_error_and_an_integer_can_be_had(net: Net) -> None:
    net.hub()
    net.worker(LARGE, HUBNET_GROUP="large")
    assert net.cli("peers", "--wait", "1", "large").returncode == 0
    for form in ([], ["--json"]):
        for name in ("doubled", "digits"):
            done = net.cli("call", "large", name, *form)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
            assert {"doubled": "more than 4000000 items", "digits": "INTMAXSTRDIGITS"}[name] in done.stderr
        done = net.cli("call", "large", "digits", *form, PYTHONINTMAXSTRDIGITS="0")
        assert (done.returncode, done.stdout) == (0, "1" + "0" * 5000 + "\n"), done.stderr


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0

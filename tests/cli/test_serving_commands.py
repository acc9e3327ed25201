"""``hubnet hub`` and ``hubnet worker``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.conftest import Net
from tests.waiting import eventually, free_port

TASKS = "import hubnet\n@hubnet.connect('add')\ndef add(a, b): return a + b\n"


def test_a_hub_says_where_it_listens_and_where_redis_is_without_the_password(net: Net) -> None:
    hub = net.hub(HUBNET_GROUP="keepers")
    broker = json.loads(next(net.folder.glob("hubnet-*/broker.json")).read_text())
    password = broker["url"].split(":")[2].split("@")[0]

    assert hub.out.count("\n") == 1
    assert "listening on 127.0.0.1:" in hub.out
    assert "group keepers" in hub.out
    assert broker["url"].rpartition("@")[2] in hub.out
    assert password not in hub.out + hub.err


def test_a_hub_ends_in_order_when_asked_to(net: Net) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        hub = net.hub()
        hub.signal(number)

        assert hub.wait() == 0
        assert "Traceback" not in hub.err


@pytest.mark.parametrize("command", [("hub",), ("worker", "tasks")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_stopped_as_soon_as_its_line_is_there_is_an_orderly_end(
    net: Net, command: tuple[str, ...], number: int
) -> None:
    (net.folder / "tasks.py").write_text(TASKS)
    if command[0] == "worker":
        net.hub()
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-m", "hubnet", *command], env=net.env, cwd=net.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert "listening on" in process.stdout.readline()
            process.send_signal(number)
            _, said = process.communicate(timeout=20)
        assert (process.returncode, said) == (0, "")


HEARS = """
import hubnet
@hubnet.subscribe("done")
def hear(what):
    raise ValueError("bad " + what)
"""


def test_a_traceback_in_the_log_keeps_its_lines_and_steers_no_terminal(net: Net) -> None:
    net.hub()
    worker = net.worker(HEARS)

    def heard() -> bool:  # what is triggered before it has subscribed is not
        assert net.cli("emit", "done", "\x1b[31mred\aover\nbelow").returncode == 0
        return "\nbelow\n" in worker.err

    eventually(heard)
    assert "\x1b" not in worker.err
    assert "\nTraceback (most recent call last):\n" in worker.err
    assert ", in hear\n" in worker.err
    assert "\nValueError: bad \\x1b[31mred\\x07over\nbelow\n" in worker.err


def test_a_hub_that_may_not_be_one_says_so(net: Net) -> None:
    done = net.cli("hub", HUBNET_IS_HUB="no")

    assert done.returncode == 2
    assert "HUBNET_IS_HUB=no" in done.stderr


def test_a_hub_without_a_server_to_run_says_so_at_once(net: Net) -> None:
    done = net.cli("hub", HUBNET_REDIS_SERVER="/no/such/server")

    assert done.returncode == 2
    assert done.stderr == "hubnet: HUBNET_REDIS_SERVER: '/no/such/server' is no program\n"


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(net: Net) -> None:
    net.hub(HUBNET_PORT=(port := str(free_port())))

    done = net.cli("hub", HUBNET_PORT=port, HUBNET_PORT_RANGE="1")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no free port" in done.stderr


def test_a_worker_serves_a_module_of_the_current_directory_and_a_file_elsewhere(net: Net) -> None:
    net.hub()
    elsewhere = net.folder / "else where"
    elsewhere.mkdir()
    (elsewhere / "paint.py").write_text("import hubnet\n@hubnet.connect\ndef stroke(): return 'painted'\n")
    (net.folder / "tasks.py").write_text(TASKS)
    net.run("python", "-m", "hubnet", "worker", "tasks", "else where/paint.py", "--group", "render").wait_for(
        "listening"
    )

    assert net.cli("peers", "render", "--wait", "1").returncode == 0
    assert net.cli("call", "render", "add", "1", "2").stdout == "3\n"
    assert net.cli("call", "render", "paint.stroke").stdout == "'painted'\n"


def test_a_worker_runs_calls_on_its_main_thread_if_asked(net: Net) -> None:
    net.hub()
    code = "import threading, hubnet\n@hubnet.connect('where')\ndef where(): return threading.current_thread().name\n"
    net.worker(code, "--main-thread", HUBNET_GROUP="blender")
    net.cli("peers", "blender", "--wait", "1")

    assert net.cli("call", "blender", "where").stdout == "'MainThread'\n"


def test_a_worker_that_is_asked_to_end_leaves_the_register(net: Net) -> None:
    net.hub()
    worker = net.worker(TASKS, HUBNET_GROUP="render")
    assert net.cli("peers", "render", "--wait", "1").returncode == 0

    assert worker.stop() == 0
    assert json.loads(net.cli("peers", "render", "--json").stdout) == {}


def test_what_is_wrong_with_a_module_is_one_line(net: Net) -> None:
    modules = {
        "missing_import": ("import no_such_thing", "no_such_thing"),
        "broken": ("def f(:\n  pass", "line 1"),
        "raising": ("x = 1\nraise ValueError('no licence')", "ValueError: no licence"),
        "leaving": ("import sys\nsys.exit('over')", "SystemExit: over"),
        "badly_connected": ("import hubnet\n@hubnet.connect\ndef f(peer): pass", "'peer'"),
    }
    for name, (code, said) in modules.items():
        (net.folder / f"{name}.py").write_text(code)
        done = net.cli("worker", name)

        assert done.returncode == 2, name
        assert done.stderr.startswith(f"hubnet: cannot import {name}: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert said in done.stderr
        assert done.stdout == ""


def test_a_module_that_is_not_there_is_told_from_an_import_inside_it(net: Net) -> None:
    for wish in ("absent", "absent.part", "absent.py"):
        done = net.cli("worker", wish)

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "no module named 'absent'" in done.stderr or "no such file" in done.stderr


def test_development_shows_the_traceback_of_a_failed_import(net: Net) -> None:
    (net.folder / "raising.py").write_text("raise ValueError('no licence')")

    done = net.cli("worker", "raising", HUBNET_DEV="1")

    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr


def test_a_file_named_like_a_module_that_is_there_already_is_refused(net: Net) -> None:
    elsewhere = net.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text(TASKS)

    done = net.cli("worker", "elsewhere/json.py")

    assert done.returncode == 2
    assert "rename the file" in done.stderr


def test_a_module_that_serves_by_itself_is_served_once(net: Net) -> None:
    net.hub()
    (net.folder / "tasks.py").write_text(f"{TASKS}hubnet.serve()\n")
    worker = net.run("python", "-m", "hubnet", "worker", "tasks", HUBNET_GROUP="render")
    assert net.cli("peers", "render", "--wait", "1").returncode == 0

    assert worker.stop() == 0

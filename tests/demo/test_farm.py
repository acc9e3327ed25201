"""The demo as a user runs it: real processes, a real net, real frames; and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.waiting import eventually

RUN = [sys.executable, "-m", "hubnet", "demo"]
LIMIT = 120.0  # seconds; a run takes 4 on an idle machine
QUICK = ["--frames", "6", "--size", "32x24", "--samples", "4", "--workers", "2"]
SLOW = ["--frames", "8", "--size", "64x48", "--samples", "60", "--workers", "2"]

needs_demo = pytest.mark.skipif(
    not all(map(find_spec, ("mitsuba", "PIL", "click", "rich"))), reason="not installed: hubnet[demo]"
)
pytestmark = [needs_demo, pytest.mark.timeout(300)]


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """One run in a folder whose path marks all its processes."""
    return subprocess.run(
        [*RUN, *options],
        check=False,
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*RUN, *options], cwd=folder, env=environment(folder),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "DEMO_TEST": str(folder), "TMPDIR": str(folder.parent), "COLUMNS": "200", **variables}


def family(folder: Path) -> list[str]:
    """The command lines of all processes, servers included, that a run in this folder started."""
    mark = f"DEMO_TEST={folder}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() + b"\0":
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone, or another user's
            continue
    return found


def numbers(out: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("frame-")) for path in out.glob("frame-*.png"))


def length(gif: Path) -> int:
    from PIL import Image

    with Image.open(gif) as image:
        return int(getattr(image, "n_frames", 1))


def test_the_demo_renders_every_frame_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = run(tmp_path, *QUICK, "--out", "film")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert numbers(tmp_path / "film") == [1, 2, 3, 4, 5, 6]
    assert length(tmp_path / "film" / "film.gif") == 6
    assert (tmp_path / "film" / "contact-sheet.png").is_file()
    assert "film/film.gif" in done.stdout and "frames per second" in done.stdout
    each = [int(count) for count in re.findall(r"^worker-\d +\d+ +(\d+) +[\d.]+ s", done.stdout, re.MULTILINE)]
    assert len(each) == 2 and sum(each) == 6
    assert family(tmp_path) == []


def test_a_killed_worker_costs_no_frame_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, *SLOW, "--out", "film", "--kill-one")
    assert done.returncode == 0, done.stdout + done.stderr
    killed = re.search(r"^killing (worker-\d) \(pid \d+\) at \d+% of frame (\d)$", done.stdout, re.MULTILINE)
    assert killed, done.stdout
    assert re.search(rf"^lost {killed[1]} with frame {killed[2]}, which may so be rendered twice", done.stdout, re.M)
    assert re.search(rf"^{killed[1]} .* lost with frame {killed[2]} *$", done.stdout, re.MULTILINE)
    finished = [int(frame) for frame in re.findall(r"/8  frame +(\d+) ", done.stdout)]
    assert sorted(finished) == numbers(tmp_path / "film") == list(range(1, 9))
    assert length(tmp_path / "film" / "film.gif") == 8
    assert family(tmp_path) == []


def test_a_net_of_the_users_own_is_neither_used_nor_needed(tmp_path: Path) -> None:
    done = run(
        tmp_path, *QUICK, "--out", "film",
        HUBNET_REDIS_URL="redis://127.0.0.1:1", HUBNET_SECRET="a secret of another net, of another machine",
        HUBNET_GROUP="elsewhere", HUBNET_NAMESPACE="elsewhere", HUBNET_IS_HUB="1", HUBNET_HUBS="127.0.0.1:1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert numbers(tmp_path / "film") == [1, 2, 3, 4, 5, 6]


def test_frames_of_a_longer_film_before_are_no_part_of_this_one(tmp_path: Path) -> None:
    out = tmp_path / "film"
    out.mkdir()
    (out / "frame-0007.png").write_bytes(b"of an earlier run")
    (out / "notes.txt").write_text("the user's own")
    assert run(tmp_path, *QUICK, "--out", "film").returncode == 0
    assert numbers(out) == [1, 2, 3, 4, 5, 6]
    assert (out / "notes.txt").read_text() == "the user's own"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_demo_that_is_stopped_takes_its_processes_along(tmp_path: Path, how: signal.Signals) -> None:
    demo = start(tmp_path, "--frames", "500", "--size", "64x48", "--samples", "60", "--workers", "2", "--out", "film")
    eventually(lambda: numbers(tmp_path / "film"), LIMIT)
    assert len(family(tmp_path)) >= 4  # the demo, the hub, two workers; the server sees no difference
    demo.send_signal(how)
    demo.communicate(timeout=LIMIT)
    assert demo.returncode != 0
    eventually(lambda: not family(tmp_path))


def test_a_worker_that_cannot_start_is_told_at_once_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "broken" / "mitsuba").mkdir(parents=True)
    (tmp_path / "broken" / "mitsuba" / "__init__.py").write_text("raise ImportError('libLLVM is broken')")
    done = run(tmp_path, *QUICK, "--out", "film", PYTHONPATH=str(tmp_path / "broken"))
    assert done.returncode == 1
    assert re.search(r"hubnet: worker \d ended with exit code 1: ImportError.*libLLVM is broken", done.stderr)
    assert "film/workers.log" in done.stderr
    eventually(lambda: not family(tmp_path))  # a hub that is ended while it starts leaves its server to the keeper


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "--workers"),
        (["--frames", "0"], "--frames"),
        (["--size", "wide"], "--size"),
        (["--size", "0x10"], "--size"),
        (["--samples", "0"], "--samples"),
        (["--fps", "nan"], "--fps"),
        (["--fps", "0"], "--fps"),
        (["--renderer", "povray"], "--renderer"),
        (["--out", "/proc/film"], "--out"),
        (["--workers", "1", "--kill-one"], "--kill-one"),
    ],
)
def test_a_bad_wish_is_refused_at_once_by_name(tmp_path: Path, options: list[str], said: str) -> None:
    done = run(tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_told_in_one_line(tmp_path: Path) -> None:
    hide = "import sys, importlib.util as u; find = u.find_spec; "
    hide += (
        "import hubnet.cli.demo as d; d.find_spec = lambda name: None if name == 'mitsuba' else find(name); d.demo()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "hubnet: the demo needs more packages: pip install 'hubnet[demo]'\n"

"""What the pages under docs/ print is run as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Net

ROOT = Path(__file__).parents[1]


def test_the_render_worker_of_the_page_on_testing_is_tested_as_printed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    blocks = dict(re.findall(r"<!-- (\w+\.py) -->\n```python\n(.*?)```\n<!-- end -->", page, re.DOTALL))
    assert sorted(blocks) == ["test_worker.py", "worker.py"]
    for name, code in blocks.items():
        (tmp_path / name).write_text(code)
    env = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_page_on_the_command_line_shows_what_tls_init_prints(net: Net) -> None:
    pytest.importorskip("cryptography")
    page = (ROOT / "docs" / "command-line.md").read_text()
    (shown,) = re.findall(r"<!-- tls init -->\n```\n\$ hubnet (.*?)\n(.*?)…\n```\n<!-- end -->", page, re.DOTALL)
    done = net.cli(*shown[0].split())

    def undated(text: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\d", "DATE", text)

    assert done.stderr == ""
    assert undated(done.stdout).startswith(undated(shown[1]).replace("/home/you", str(net.folder.resolve())))


def test_the_page_on_statistics_has_every_counter_and_no_other() -> None:
    page = (ROOT / "docs" / "statistics.md").read_text()
    source = "".join(file.read_text() for file in (ROOT / "hubnet").rglob("*.py"))
    counted = set(re.findall(r'"([a-z]+\.[a-z_]+)"', "".join(re.findall(r"(?:counters\.add|count)\(.*", source))))
    now = set(re.findall(r'"((?:calls|links|events)\.[a-z]+)": self\.', source))
    told = set(re.findall(r"`([a-z]+\.[a-z_]+)`", page)) - {"hubnet.stats"}
    assert counted > {"events.published", "calls.refused", "hub.gone"}
    assert now > {"calls.ok", "links.idle"}
    assert told == counted | now

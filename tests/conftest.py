"""Fixtures for every folder of tests: a net of real processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 20.0
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it for what it runs in the background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # else every process that a test starts would be deaf to Ctrl-C
_BYTECODE = Path(tempfile.gettempdir()) / f"hubnet-test-bytecode-{os.getuid()}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, on each kind of net, what it is not for.

    Where a broker with users takes the embedded one's place, that is what is about the embedded one; on a net in memory it is
    what needs processes.
    """
    with_users = os.environ.get("HUBNET_TEST_BROKER") == "acl"
    left_out = [item for item in items if _is_not_for_its_net(item, with_users=with_users)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_not_for_its_net(item: pytest.Item, *, with_users: bool) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "memory" in (parameters.get("shared"), parameters.get("alone")):
        return with_users or any(item.get_closest_marker(name) for name in ("embedded", "processes"))
    return with_users and item.get_closest_marker("embedded") is not None


class Process:
    """A process of a test net; its output is in files, so that it never waits for a reader."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], folder: Path) -> None:
        self.name = name
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        self.pid = self._process.pid

    def __repr__(self) -> str:
        return f"<{self.name}, pid {self.pid}>"

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._err.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def wait_for(self, text: str, timeout: float = LIMIT) -> Process:
        """Wait until it has written this, to whichever stream."""
        deadline = time.monotonic() + timeout
        while text not in self.out + self.err:
            late = time.monotonic() >= deadline
            if (late or self.code is not None) and text not in self.out + self.err:
                raise AssertionError(f"{self!r} did not say {text!r} (exit code {self.code}):\n{self.report()}")
            time.sleep(0.01)
        return self

    def wait(self, timeout: float = LIMIT) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self!r} did not end within {timeout} s:\n{self.report()}") from None

    def signal(self, number: int) -> None:
        """Send it a signal; SIGSTOP and SIGCONT as well."""
        self._process.send_signal(number)

    def stop(self, timeout: float = LIMIT) -> int:
        """Ask it to end, by SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it at once."""
        if self.code is None:
            self._process.kill()
        self._process.wait()

    def report(self) -> str:
        """All that it wrote."""
        return f"--- {self!r}: {self.code}\n{self.out}{self.err}"


class Net:
    """A net of its own: its runtime directory, embedded broker and secret are under the test's folder.

    Attributes:
        env: what every process of it gets; a test may add to it.
        folder: where they run, and where files for them may be put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # each process would compile hubnet anew
        self.env = {
            **kept,
            "TMPDIR": str(folder),
            "HUBNET_PORT": "0",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPYCACHEPREFIX": str(_BYTECODE),
        }
        self._processes: list[Process] = []

    def run(self, *argv: str, **env: str) -> Process:
        """Start a process: ``net.run("python", "-c", code, HUBNET_GROUP="render")``."""
        name = f"{len(self._processes)}-{Path(argv[0]).name}"
        process = Process(name, self._command(argv), {**self.env, **env}, self.folder)
        self._processes.append(process)
        return process

    def hub(self, **env: str) -> Process:
        """Start a hub and wait until it listens."""
        return self.run("python", "-m", "hubnet", "hub", **env).wait_for("listening on")

    def worker(self, code: str, *options: str, name: str = "tasks", **env: str) -> Process:
        """Write a module, start a worker with it and wait until it listens."""
        (self.folder / f"{name}.py").write_text(code)
        return self.run("python", "-m", "hubnet", "worker", name, *options, **env).wait_for("listening on")

    def cli(self, *args: str, timeout: float = 40, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line to its end."""
        return subprocess.run(
            self._command(("python", "-m", "hubnet", *args)), env={**self.env, **env}, cwd=self.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    @staticmethod
    def _command(argv: tuple[str, ...]) -> list[str]:
        return [sys.executable, *argv[1:]] if argv[0] == "python" else list(argv)

    def close(self) -> None:
        """Kill what still runs, the youngest first, and show what all of it wrote (pytest keeps that for failures)."""
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            print(process.report())


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """A net of real processes, with an embedded broker, for this test alone."""
    made = Net(tmp_path)
    yield made
    made.close()

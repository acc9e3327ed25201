"""The demo's processes on this machine, and the walls around their net; a farm of many machines has no use for this.

Nothing may be left behind: every child is ended and waited for by `Processes`, and should this process be killed
itself, the pipe on its children's standard input closes and they leave on their own.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import hubnet

GRACE = 5.0  # seconds from SIGTERM to SIGKILL; idle workers and the hub need about 0.1
_ERROR = re.compile(r"[A-Za-z_.]*(Error|Exception|Exit)\b")
_KEPT = "HUBNET_REDIS_SERVER"  # where the server binary is, which holds for every net


class ProcessDied(Exception):
    """A child has ended by itself."""


@contextmanager
def private_net() -> Iterator[None]:
    """Keep this process and its children apart from any net that the user runs or has set up in the environment.

    The embedded server leaves its address and secret under the temporary directory: an own one gives an own server.
    To be entered before this process registers its first function.

    Raises:
        ConfigError: this process is a peer already.
    """
    with tempfile.TemporaryDirectory(prefix="hubnet-demo-", ignore_cleanup_errors=True) as folder:
        for name in [name for name in os.environ if name.startswith("HUBNET_") and name != _KEPT]:
            del os.environ[name]
        namespace = f"demo-{os.getpid()}"
        os.environ.update(HUBNET_NAMESPACE=namespace, HUBNET_PORT="0", HUBNET_AUTOSTART="0", TMPDIR=folder)
        tempfile.tempdir = folder
        hubnet.configure(namespace=namespace)  # raises where the settings have been read already
        try:
            yield
        finally:
            tempfile.tempdir = None


def leave_with_parent() -> None:
    """Stop this process, as SIGTERM does, once whoever holds the other end of its standard input has gone.

    Does nothing where standard input is no pipe: on a terminal, or under a service manager.
    """

    main = threading.main_thread().ident or 0

    def watch() -> None:
        while os.read(0, 4096):
            pass
        signal.pthread_kill(main, signal.SIGTERM)  # os.kill may pick this thread, and the main one would sleep on

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=watch, name="leave-with-parent", daemon=True).start()


class Processes:
    """Child processes that run modules of this interpreter; as a context manager it ends them all."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        """Run a module as a child, with these variables besides ours; what it prints goes to the log."""
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], env={**os.environ, **environment},
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we tell them
            )  # fmt: skip
        self._children.append((name, child))

    def check(self) -> None:
        """See that all are still there.

        Raises:
            ProcessDied: one has ended; the text has the log's last line that tells of an error, or its last.
        """
        for name, child in self._children:
            if (code := child.poll()) is not None:
                lines = self._log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                errors = [
                    line for line in lines if _ERROR.match(line)
                ]  # all write into one log: the last may be another's
                raise ProcessDied(f"{name} ended with exit code {code}: {(errors or lines)[-1]}")

    def end(self, grace: float = GRACE) -> None:
        """End all and wait for them; the first one, the hub, when the others have said goodbye to it."""
        first, others = self._children[:1], self._children[1:]
        for children in (others, first):
            limit = time.monotonic() + grace
            for _, child in children:
                child.terminate() if grace > 0 else child.kill()
            for _, child in children:
                _wait(child, limit)
        self._children.clear()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.end(GRACE if kind is None else 0.0)  # what is half rendered now is of no use


def _wait(child: subprocess.Popen[bytes], limit: float) -> None:
    try:
        child.wait(max(0.0, limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdin:
        child.stdin.close()

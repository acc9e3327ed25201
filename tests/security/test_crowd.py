"""Attack 30: thousands of half-open links and slow senders, and links that hold threads; honest peers are served meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hubnet.core import frames
from hubnet.errors import PeerUnreachable
from hubnet.links import workers
from hubnet.links.limits import Limits
from tests.links.loopback import End, Ends, ends_of_a_test, serving_threads, soon
from tests.security.member import ROOT, Member, member
from tests.waiting import eventually

STRANGERS = 5000
CPU_EACH = 0.003
"""Seconds of the listener's CPU for a stranger or an honest handshake with its call: it takes 0.0006 on a machine of 2020."""
MEMORY = 64 << 20
"""Bytes that the listener may grow by, whoever comes: 256 half-open links take about 15 MiB with their keys."""


class Crowd:
    """The attacker's process, on a core of its own if there are several."""

    def __init__(self, there: Member, core: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.crowd", str(there.port), str(core), str(STRANGERS)], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def all_came(self) -> int:
        """Wait until all have come; how many."""
        return int(self._out.readline())

    def leaves(self) -> int:
        """Let it end; the bytes that strangers heard who had asked for nothing."""
        self._in.close()
        return int(self._out.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()


class Honest(threading.Thread):
    """A peer that calls on and on: over one link, or dialling anew for each call."""

    def __init__(self, end: End, there: Member, *, anew: bool) -> None:
        super().__init__(daemon=True)
        self._end, self._there, self._anew = end, there, anew
        self.enough = threading.Event()
        self.served = 0
        self.failed: list[Exception] = []
        self.start()

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                assert self._end.call(self._there, "echo", self.served, timeout=60) == self.served
                self.served += 1
            except Exception as error:
                self.failed.append(error)
            if self._anew:
                self._end.caller.forget(self._there.id, self._there.own.incarnation)
            self.enough.wait(0.002)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ends_of_a_test() as made:
        yield made


@pytest.mark.parametrize("wire", ["sealed", "open-mac"])
def test_five_thousand_half_open_links_and_slow_senders_fail_no_honest_call(ends: Ends, wire: str) -> None:
    """From the same address, so that nobody is served because the attackers' address is not."""
    attackers_core, *others = sorted(os.sched_getaffinity(0))
    with member(wire, others) as there:
        ends.book[there.id] = there.endpoint
        watcher = ends().serve()
        assert watcher.call(there, "echo", 1) == 1
        cpu, memory = there.cpu_seconds, there.most_memory
        crowd = Crowd(there, attackers_core)
        honest = [Honest(ends().serve(), there, anew=anew) for anew in (True, True, False)]
        try:
            assert crowd.all_came() == STRANGERS
            assert watcher.call(there, "half_open") <= Limits().strangers[0]
            served = sum(one.served for one in honest)
            eventually(lambda: sum(one.served for one in honest) > served + 100)  # with the last of them still there
            assert there.cpu_seconds - cpu < CPU_EACH * (STRANGERS + sum(one.served for one in honest))
            assert there.most_memory - memory < MEMORY
            assert there.descriptors < 2 * Limits().strangers[0]
        finally:
            for one in honest:
                one.enough.set()
            for one in honest:
                one.join(60)
            heard = crowd.leaves()
            crowd.close()
        assert [one.failed for one in honest] == [[], [], []]
        assert min(one.served for one in honest) > 20
        assert heard == 0
        eventually(lambda: watcher.call(there, "half_open") == 0)
        told = [watcher.call(there, "counted", f"handshakes.{how}") for how in ("turned_away", "timed_out", "broken")]
        assert (
            STRANGERS - 2 * Limits().strangers[0]
            <= told[0]
            <= sum(told)
            <= STRANGERS + sum(one.served for one in honest)
        )  # one that is reset is not counted; an honest one may have had to come again


def test_links_that_stop_in_the_middle_of_a_frame_keep_nobody_out(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a member, or by who cuts members' words short on the way; here with fewer workers, to be quick."""
    monkeypatch.setattr(workers, "_MOST", len(serving_threads()) + 8)
    one, other = ends().serve(), ends().serve(lambda: 1)
    other.connections.by_name[b"echo"] = other.connections.by_name.pop(b"<lambda>")
    links = [one.dialler.dial("127.0.0.1", other.port, other.own, soon()) for _ in range(16)]
    for link in links:
        link._sock.send(frames.HEADER.pack(1000, frames.REQUEST, 0, 0, 4, 0, 0, 0) + b"echo")
    eventually(lambda: not other.serving._workers.waiting or other.serving.links == 16)
    try:  # others wait for seconds, which a handshake may not; but not until those links are closed
        eventually(lambda: one.call(other, "echo", timeout=20) == 1, timeout=60, not_yet=PeerUnreachable)
    finally:
        for link in links:
            link.close()

"""Events that are done once a replica has them, behind Sentinels: what was acknowledged outlives its publisher and its master."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.storm.failovers import Sentinels
from benchmarks.storm.nets import StormNet
from tests.api.conftest import Process
from tests.api.witness import live
from tests.waiting import eventually

pytestmark = pytest.mark.processes
TELLS = """
import time
kept = hubnet.event("kept", durable="replicated")(lambda number: ((number,), {}))
def tell(begin, end, patience):
    # whether all that was told is done, and after how long we know
    for number in range(begin, end):
        kept(number)
        time.sleep(0.01)  # in several envelopes: while WAIT has no answer, what is told comes together in one
    start = time.monotonic()
    return hubnet.flush(patience), time.monotonic() - start
"""
HEARS = "heard = []\nhubnet.subscribe('kept', since='10m')(heard.append)"
SENT_AGAIN = "hubnet.stats().get('events.sent_again', 0)"
COPIED, ALONE, LAGGING, ACKNOWLEDGED = 100, 200, 300, 400
ENOUGH = 60.0  # as long as a replica may take on a busy machine
SOON = 15.0  # when the answer is due after one second


@pytest.fixture
def net(tmp_path: Path) -> Iterator[StormNet]:
    made = StormNet(tmp_path, Sentinels(tmp_path), HUBNET_LEASE="2")
    made.hub()
    yield made
    made.close()


def hears(ears: Process, end: int) -> None:
    """All up to this number, once and in order."""
    eventually(lambda: len(ears.ask("heard")) >= end, ENOUGH)
    assert ears.ask("heard") == list(range(end))


def is_told_that_it_waits(mouth: Process, begin: int, end: int) -> None:
    done, after = mouth.ask(f"tell({begin}, {end}, 1)", ENOUGH)
    assert not done
    assert after < SOON


def test_what_a_replica_has_acknowledged_outlives_publisher_and_master_and_without_one_its_publisher_is_told(
    net: StormNet,
) -> None:
    group = net.redis
    mouth, ears = net.worker(TELLS), net.worker(HEARS)
    live(ears)
    assert mouth.ask(f"tell(0, {COPIED}, {ENOUGH})", 2 * ENOUGH)[0]

    (replica,) = (node for node in group.nodes[:2] if node is not group.master)
    replica.signal(signal.SIGSTOP)
    is_told_that_it_waits(mouth, COPIED, ALONE)
    assert "no replica took them" in mouth.said
    hears(ears, ALONE)
    replica.signal(signal.SIGCONT)
    assert mouth.ask(f"hubnet.flush({ENOUGH})", 2 * ENOUGH)

    again = mouth.ask(SENT_AGAIN)
    group.leave_behind()
    is_told_that_it_waits(mouth, ALONE, LAGGING)
    group.fail_over()
    assert group.lost()  # of the third hundred the new master has nothing but what its publisher sends again
    is_told_that_it_waits(mouth, LAGGING, LAGGING)
    assert mouth.ask(SENT_AGAIN) - again >= LAGGING - ALONE
    group.bring_back()
    assert mouth.ask(f"tell({LAGGING}, {ACKNOWLEDGED}, {ENOUGH})", 2 * ENOUGH)[0]
    mouth.kill()

    group.fail_over()
    late = net.worker(HEARS)
    hears(late, ACKNOWLEDGED)
    hears(ears, ACKNOWLEDGED)

"""A hub's round, on a net in memory whose clock the test puts back: what it writes again, and what it leaves buried."""

from __future__ import annotations

import errno
import os
import time

import pytest

from hubnet.core.membership import Seen
from hubnet.testing import LocalNet
from tests.waiting import eventually

LEASE = 600.0  # nobody renews by itself while the test lasts


def test_a_hub_that_was_stopped_does_not_write_again_whom_another_may_have_buried() -> None:
    """Neither who was last heard before the stop, nor in the middle of a round: until it is heard from again."""
    with LocalNet(lease=LEASE) as net:
        worker = net.peer(group="render")
        hub = net.hubs[0]._peer._parts.hub
        member, record = hub._watch.members[worker.id], hub._watch.members[worker.id].record
        member.heard = time.monotonic() - LEASE / 2 - 0.1
        assert hub._registry.withdraw(worker.id, record["incarnation"])
        hub._renew(float("-inf"), own=False, everyone=False)
        assert worker.id not in hub._registry.snapshot().records
        hub._grant_everyone(time.monotonic())  # as after a stop
        hub._renew(float("-inf"), own=False, everyone=True)
        assert worker.id not in hub._registry.snapshot().records
        member.heard = member.renewed = time.monotonic()
        eventually(lambda: worker.id in hub._registry.snapshot().records)


def test_a_hub_that_may_open_no_more_files_buries_nobody_whom_it_cannot_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*args: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with LocalNet(lease=LEASE) as net:
        worker = net.peer(group="render")
        watch = net.hubs[0]._peer._parts.hub._watch
        record = watch.members[worker.id].record
        assert watch.look(record) == (Seen.ALIVE, "")
        monkeypatch.setattr(watch._dialler, "_open", no_file)
        seen, why = watch.look(record)
        assert seen is Seen.SILENT
        assert "no more files may be open here" in why

"""Where the system has no thread to give, nobody is harmed by having asked, and the next one who asks gets one."""

from __future__ import annotations

import threading

import pytest

from hubnet.links import threads
from hubnet.links.complaints import Complaints


def test_what_is_begun_is_done(monkeypatch: pytest.MonkeyPatch):
    done = threading.Event()
    thread = threads.begin(done.set, "hubnet-something")
    assert thread is not None
    assert thread.name == "hubnet-something"
    assert thread.daemon
    assert done.wait(10)
    thread.join(10)


def test_that_there_is_none_is_said_once_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_complaints", Complaints())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        assert [threads.begin(int, "hubnet-something") for _ in range(3)] == [None] * 3
    assert caplog.text.count("can't start new thread") == 1
    assert "ulimit -u" in caplog.text
    assert threads.begin(int, "hubnet-something") is not None

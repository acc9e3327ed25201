"""Where the system has no thread to give, nobody is harmed by having asked, and the next one who asks gets one."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

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


def test_what_is_wanted_may_be_said_in_the_middle_of_saying_it(monkeypatch: pytest.MonkeyPatch):
    """A signal's handler that publishes may come there, and so may another thread."""
    said, complaints = [], Complaints()

    def about(*what: str) -> str | None:
        said.append(what)
        threads._unsaid.append(("of a signal's handler", "no"))
        if len(said) < 2:
            threads.say_what_is_wanted()
        else:
            threads._unsaid.clear()
        return complaints.about(*what)

    monkeypatch.setattr(threads, "_complaints", SimpleNamespace(about=about))
    threads._unsaid.append(("of the main program", "no"))
    threads.say_what_is_wanted()
    assert [name for name, _ in said] == ["of the main program", "of a signal's handler"]


def test_a_child_may_say_what_is_wanted_whatever_its_parent_was_saying():
    threads._saying.acquire()
    child = os.fork()
    if not child:
        os._exit(0 if threads._saying.acquire(blocking=False) else 9)
    threads._saying.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

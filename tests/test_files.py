"""Open files that are kept back: let go of when there are no others, and taken back when all of them can be."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubnet import files
from hubnet.files import Files


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextmanager
def no_more_files() -> Iterator[None]:
    """For a while no descriptor is given out, whichever come free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_they_are_let_go_of_once_and_are_scarce_until_all_can_be_taken_back() -> None:
    before = _open_files()
    kept = Files(3)
    assert _open_files() == before + 3
    assert not kept.are_scarce()
    assert kept.let_go()
    with no_more_files():
        assert not kept.let_go()
        assert kept.are_scarce()
    assert _open_files() == before
    assert not kept.are_scarce()
    assert _open_files() == before + 3
    kept.close()
    assert _open_files() == before


def test_they_are_scarce_as_soon_as_the_next_file_would_be_one_of_them() -> None:
    before = _open_files()
    kept = Files(3)
    with no_more_files():
        assert kept.are_scarce()
    assert _open_files() == before
    kept.close()


def test_who_keeps_none_back_has_none_to_let_go_of_and_calls_none_scarce() -> None:
    none = Files(0)
    with no_more_files():
        assert not none.are_scarce()
    assert not none.let_go()


def test_an_error_that_came_of_another_one_tells_that_no_file_was_left() -> None:
    try:
        with no_more_files():
            open(os.devnull)  # noqa: PTH123, SIM115 - it opens nothing
    except OSError as error:
        other = ConnectionError("in other words")
        other.__cause__ = error
        assert files.none_left(other)
    assert not files.none_left(ConnectionError("nobody listens"))
    assert not files.none_left(None)

"""What another Redis lacks of what was written to one: found from the end, in few looks."""

from __future__ import annotations

import pytest

from hubnet.core.histories import lacking


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 100])
def test_it_is_found_however_many_are_lacking(count: int) -> None:
    for there in range(count + 1):
        assert lacking(count, lambda number, there=there: number < there) == count - there  # type: ignore[misc]


@pytest.mark.parametrize("lost", [0, 1, 5, 160, 5000])
def test_it_takes_few_looks(lost: int) -> None:
    looks: list[int] = []

    def has(number: int) -> bool:
        looks.append(number)
        return number < 12_000 - lost

    assert lacking(12_000, has) == lost
    assert len(looks) <= 2 + 2 * lost.bit_length()


def test_what_went_by_itself_at_the_beginning_is_not_taken_for_lost() -> None:
    for gone in range(90):
        assert lacking(100, lambda number, gone=gone: gone <= number < 95) in {5, 100}  # type: ignore[misc]
    assert lacking(100, lambda number: 80 <= number < 95) == 5


def test_where_none_is_found_all_are_lacking() -> None:
    assert lacking(50, lambda number: False) == 50

"""Histories: which of the last things that were written to a Redis another one lacks that has taken its place.

A replica hears things in their order, and so does a log; so what is lacking are the last ones, and one that is there says the
same of all before it. The oldest may have gone by themselves, as from a stream with a cap: so one looks from the end on.
"""

from __future__ import annotations

from collections.abc import Callable


def lacking(count: int, has: Callable[[int], bool]) -> int:
    """How many of the last are lacking, in some two looks for each doubling of that; all, where none is found to be there.

    Args:
        count: of all that was written, in its order.
        has: whether the one with this number is there.
    """
    absent, step = count, 1
    while absent:
        present = max(0, count - step)
        if has(present):
            break
        absent, step = present, 2 * step
    else:
        return count
    while absent - present > 1:
        middle = (present + absent) // 2
        if has(middle):
            present = middle
        else:
            absent = middle
    return count - absent

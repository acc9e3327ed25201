"""What a process weighs, once it has handed back all that it only keeps for later.

With its allocator being glibc's (see ``stage.ALLOCATOR``), glibc knows of each byte that is in use.
"""

from __future__ import annotations

import ctypes
import gc
import linecache
import os
from pathlib import Path

_NAMES = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _Heap(ctypes.Structure):
    """What glibc tells of its heap: bytes, and how many pieces they are in."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _NAMES)


_libc = ctypes.CDLL(None)
_libc.mallinfo2.restype = _Heap


def weigh() -> dict[str, int]:
    """Bytes: ``rss`` is what it has, ``used`` what is in use of what it has allocated.

    The sources that a first traceback has read go first, and what the allocator keeps: both are no growth.
    """
    linecache.clearcache()
    gc.collect()
    _libc.malloc_trim(0)
    heap = _libc.mallinfo2()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"rss": pages * os.sysconf("SC_PAGE_SIZE"), "used": int(heap.uordblks + heap.hblkhd)}

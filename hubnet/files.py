"""Open files that are kept back for when there are no others.

A hub without free files could answer nobody, not even those whom it has registered. So it keeps some back, lets go of them when
the system gives it no more, and takes no further peer in until it could take them back.
"""

from __future__ import annotations

import errno
import os
import resource
import threading

from hubnet.errors import causes

_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})


def none_left(error: BaseException | None) -> bool:
    """Whether it came about because no more files may be open, here or in the whole system."""
    return any(isinstance(one, OSError) and one.errno in _NONE_LEFT for one in causes(error))


def limit() -> str:
    """How many files this process may have open, for people."""
    return f"ulimit -n is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"


class Files:
    """Some open files that lead nowhere.

    Args:
        many: how many are kept back.
    """

    def __init__(self, many: int) -> None:
        self._many = many
        self._held: list[int] = []
        self._lock = threading.Lock()
        self._take_back()

    def let_go(self) -> bool:
        """No more files may be open: whether there are some again."""
        with self._lock:
            return self._let_go()

    def are_scarce(self) -> bool:
        """Whether what is kept back is in use, or the next file would be one of it."""
        with self._lock:
            if not self._many:
                return False
            one_more = _opened() if self._take_back() else None
            if one_more is None:
                self._let_go()
                return True
            os.close(one_more)
            return False

    def _take_back(self) -> bool:
        """All of them or none: with a few of them back, whoever asks would find no file."""
        while len(self._held) < self._many:
            one = _opened()
            if one is None:
                self._let_go()
                return False
            self._held.append(one)
        return True

    def _let_go(self) -> bool:
        held, self._held = self._held, []
        for one in held:
            os.close(one)
        return bool(held)

    def close(self) -> None:
        """Keep nothing back any more; in a forked child, where the lock may be held by a thread that is not here, as well."""
        self._many = 0
        free = self._lock.acquire(
            timeout=0.1
        )  # else somebody takes back just now, and what has been closed comes again
        self._let_go()
        if free:
            self._lock.release()


def _opened() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None

"""Whether importing application code makes this process a peer, and when that peer is open."""

from __future__ import annotations

import os
import sys
import time

from hubnet import environment
from hubnet.errors import ConfigError

_OPEN_AFTER = 1.0
_COLLECTORS = frozenset({"pytest", "py.test", "unittest", "nose2", "doctest", "xdist"})


def wanted() -> bool:
    """Whether the first registration may start a peer: not in children of multiprocessing, not under a test collector."""
    try:
        if not environment.so_far("autostart"):
            return False
    except ConfigError:
        return True  # starting tells what is wrong, in the log and at first use
    return not _is_child() and not _is_test_collector()


def _is_child() -> bool:
    """Whether multiprocessing made this process; one that was spawned imports its program before it knows its parent."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is None:
        return False
    return multiprocessing.parent_process() is not None or getattr(
        multiprocessing.current_process(), "_inheriting", False
    )


def _is_test_collector() -> bool:
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    runner = main.name.partition(".")[0] if main else os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119
    return runner in _COLLECTORS or ("_pytest.main" in sys.modules and _is_called_by("_pytest"))


def _is_called_by(package: str) -> bool:
    """Whether a function of this package waits for us: a program may import it without being run by it."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            return True
    return False


class Imports:
    """The modules that registered something, and whether all of them have finished importing."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._last = 0.0
        self._main_is_ready = self._all_is_ready = False

    def note(self, module: str) -> None:
        """A function of this module was registered."""
        self._modules.add(module)
        self._last = time.monotonic()

    def is_ready(self, *, all_of_it: bool) -> None:
        """``__main__`` has begun to use its peer; or something serves, from a module that is being imported perhaps."""
        self._main_is_ready = True
        self._all_is_ready = self._all_is_ready or all_of_it

    def finished(self) -> bool:
        """``__main__`` cannot be asked: it counts as done once it uses its peer, or a second after its last registration."""
        if self._all_is_ready:
            return True
        waits = "__main__" in self._modules and not self._main_is_ready
        if waits and time.monotonic() - self._last <= _OPEN_AFTER:
            return False
        return not any(_importing(name) for name in list(self._modules) if name != "__main__")


def _importing(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))

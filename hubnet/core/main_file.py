"""The file that runs as ``__main__``: what it is called as a module, and the classes that it defines.

A child that multiprocessing spawned runs it as ``__mp_main__``, which means the same here.

Pickle knows such a class as ``__main__``'s, which is another file in another process. Its place says which file: two processes
that run the same one, to the letter, mean the same class; so does a module imported from it.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = ("__main__", "__mp_main__")
Place = tuple[str, bytes, str]  # the file's module name, the digest of its text, the class's qualified name


def module_name(name: str = "__main__") -> str | None:
    """The name by which others import it."""
    main = sys.modules.get(name)
    if spec := getattr(main, "__spec__", None):
        return str(spec.name)
    file = getattr(main, "__file__", None)
    base = str(file or "").replace("\\", "/").rpartition("/")[2]
    return base.rpartition(".")[0] or base or None


def claim(name: str) -> None:
    """Something of ``__main__`` is registered: keep its text in mind, and have it be what its module's name imports.

    Else what travels by that name, from who imported the file, would run it here a second time, under another name.
    """
    main, called = sys.modules.get(name), module_name(name)
    if main is None or called is None:
        return
    _digest_of(main)  # a file may be edited while it runs
    file = getattr(main, "__file__", None)
    if called not in sys.modules and file and _file_of(called) == Path(file).resolve():
        sys.modules[called] = main


def _file_of(module: str) -> Path | None:
    """Which file this name would import."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin).resolve() if spec and spec.origin else None


def place_of(class_: type) -> Place | None:
    """Where ``__main__`` has this class, or None: it is no class of ``__main__``, or was made by a function."""
    if class_.__module__ not in NAMES:
        return None
    main, name = sys.modules.get(class_.__module__), module_name(class_.__module__)
    if main is None or name is None or _found(main, class_.__qualname__) is not class_:
        return None
    digest = _digest_of(main)
    return (name, digest, class_.__qualname__) if digest else None


def class_at(place: Place) -> Any:
    """The class at a place of the file that runs here, or that was imported here; None: this process knows another text."""
    name, digest, qualified_name = place
    for module in map(sys.modules.get, (*NAMES, name)):
        if module is not None and _digest_of(module) == digest:
            found = _found(module, qualified_name)
            if isinstance(found, type) and found.__module__ == module.__name__:  # and not imported there
                return found
    return None


def _found(module: ModuleType, qualified_name: str) -> Any:
    found: Any = module
    for name in qualified_name.split("."):
        found = getattr(found, name, None)
    return found


def _digest_of(module: ModuleType) -> bytes:
    file = getattr(module, "__file__", None)
    return _digest(file) if file else b""


@functools.cache
def _digest(file: str) -> bytes:
    """Of the file's text as it is when first asked for; empty: there is none to read."""
    text = "".join(linecache.getlines(file))
    return hashlib.sha256(text.encode()).digest() if text else b""

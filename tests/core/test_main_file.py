"""Classes of ``__main__``, by their place in its file."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hubnet.core import codec, main_file

TEXT = """
class Shot:
    class Take:
        pass
def made():
    class Local:
        pass
    return Local
"""


def run(file: Path, name: str, text: str) -> ModuleType:
    """A module as an interpreter makes it from a file with this text."""
    file.write_text(text)
    module = ModuleType(name)
    module.__file__ = str(file)
    exec(compile(text, file, "exec"), vars(module))
    return module


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The ``__main__`` of a process that runs worker.py."""
    module = run(tmp_path / "worker.py", "__main__", TEXT)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def becomes(main: ModuleType | None, monkeypatch: pytest.MonkeyPatch, **imported: ModuleType) -> None:
    """From here on this is another process."""
    monkeypatch.setitem(sys.modules, "__main__", main or ModuleType("__main__"))
    for name, module in imported.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_a_class_has_a_place_in_the_file_that_defines_it(main: ModuleType) -> None:
    name, digest, qualified = main_file.place_of(main.Shot.Take)
    assert (name, qualified) == ("worker", "Shot.Take")
    assert main_file.class_at((name, digest, qualified)) is main.Shot.Take


def test_what_a_function_made_or_another_module_defines_has_none(main: ModuleType) -> None:
    assert main_file.place_of(main.made()) is None
    assert main_file.place_of(Path) is None
    replaced = main.Shot
    main.Shot = None
    assert main_file.place_of(replaced) is None


@pytest.mark.parametrize("folder", [".", "elsewhere"])
def test_a_process_of_the_same_text_has_it_as_its_own_wherever_the_file_is(
    main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    data, _ = codec.encode([main.Shot, main.Shot()])
    (tmp_path / folder).mkdir(exist_ok=True)
    theirs = run(tmp_path / folder / "worker.py", "__main__", TEXT)
    becomes(theirs, monkeypatch)
    class_, instance = codec.decode(data)
    assert class_ is type(instance) is theirs.Shot


def test_who_imported_the_file_has_it_as_that_modules(
    main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = codec.encode(main.Shot())
    module = run(tmp_path / "worker.py", "worker", TEXT)
    becomes(None, monkeypatch, worker=module)
    assert type(codec.decode(data)) is module.Shot


def test_who_runs_another_text_gets_it_by_value(
    main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = codec.encode(main.Shot())
    (tmp_path / "new").mkdir()
    theirs = run(tmp_path / "new" / "worker.py", "__main__", TEXT + "\n# edited\n")
    becomes(theirs, monkeypatch)
    found = type(codec.decode(data))
    assert found.__qualname__ == "Shot"
    assert found is not theirs.Shot


HOME = """
import base64, subprocess, sys
from hubnet.core import codec
class Shot:
    def named(self):
        return type(self).__name__
class Words(str):
    pass
def echo(value):
    command = [sys.executable, "-c", ECHO]
    done = subprocess.run(command, input=base64.b64encode(codec.encode(value)[0]), capture_output=True, check=True)
    return codec.decode(base64.b64decode(done.stdout))
named = Shot.named
shot, class_, method, words = echo([Shot(), Shot, Shot().named, Words("said")])
print(type(shot) is class_ is type(method.__self__) is Shot, Shot.named is method.__func__ is named, type(words) is Words)
"""
ECHO = """
import base64, sys
from hubnet.core import codec
values = codec.decode(base64.b64decode(sys.stdin.read()))
assert values[0].named() == values[2]() == "Shot" and type(values[0]) is values[1] and values[3] == "said"
sys.stdout.buffer.write(base64.b64encode(codec.encode(values)[0]))
"""


def test_what_comes_home_from_another_file_is_our_own_class_and_that_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "home.py").write_text(f"ECHO = {ECHO!r}\n{HOME}")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(tmp_path / "home.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True True True\n", "")


def test_a_class_that_was_imported_there_under_that_name_is_another_one(
    main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = main_file.place_of(main.Shot)
    theirs = run(tmp_path / "worker.py", "__main__", TEXT)
    theirs.Shot = type("Shot", (), {"__module__": "elsewhere"})
    becomes(theirs, monkeypatch)
    assert place is not None
    assert main_file.class_at(place) is None


def test_a_file_that_cannot_be_read_has_no_places(main: ModuleType, tmp_path: Path) -> None:
    main.__file__ = str(tmp_path / "gone.py")
    assert main_file.place_of(main.Shot) is None
    del main.__file__
    assert main_file.place_of(main.Shot) is None


@pytest.mark.parametrize(
    ("file", "name"), [("/a/b/worker.py", "worker"), ("C:\\jobs\\worker.py", "worker"), ("run", "run"), ("", None)]
)
def test_a_file_is_called_as_its_importers_call_it(
    monkeypatch: pytest.MonkeyPatch, file: str, name: str | None
) -> None:
    main = ModuleType("__main__")
    main.__file__ = file
    becomes(main, monkeypatch)
    assert main_file.module_name() == name


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Files of these tests have the same path and another text each time."""
    main_file._digest.cache_clear()
    linecache.clearcache()

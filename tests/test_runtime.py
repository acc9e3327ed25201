"""The private directory and secret files: what is believed, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hubnet import machine, runtime
from hubnet.core.keys import new_token
from hubnet.errors import ConfigError

TOKEN = new_token(bytes(32))
OTHER = new_token(bytes(range(32)))
root_only = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a file away")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the private directory will be made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"hubnet-{os.getuid()}"


# -- the directory ---------------------------------------------------------------------------------------------------


def test_the_directory_is_made_for_this_user_alone(place):
    assert runtime.directory() == place
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert runtime.directory() == place


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o750, 0o701, 0o720])
def test_a_directory_that_others_may_enter_is_refused(place, mode):
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(ConfigError, match="private"):
        runtime.directory()


def test_a_link_is_refused_even_to_a_private_directory(place, tmp_path):
    (tmp_path / "mine").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match="private"):
        runtime.directory()


def test_a_link_to_nowhere_is_refused(place, tmp_path):
    place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError):
        runtime.directory()


def test_a_file_in_its_place_is_refused(place):
    place.touch(mode=0o600)
    with pytest.raises(ConfigError):
        runtime.directory()


@root_only
def test_a_directory_of_somebody_else_is_refused(place):
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)
    with pytest.raises(ConfigError, match="private"):
        runtime.directory()


def test_where_none_can_be_made_the_text_says_what_to_set(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with pytest.raises(ConfigError, match=r"HUBNET_REDIS_URL.*HUBNET_SECRET.*TMPDIR"):
        runtime.directory()


# -- its files -------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_and_is_this_users_alone(place):
    runtime.write("x.json", {"url": "redis://h"})
    assert runtime.read("x.json")["url"] == "redis://h"
    assert stat.S_IMODE((place / "x.json").stat().st_mode) == 0o600
    assert [path.name for path in place.iterdir()] == ["x.json"]


def test_a_file_that_is_not_there_is_none(place):
    assert runtime.read("x.json") is None


def test_what_was_written_before_this_boot_is_not_believed(place):
    runtime.write("x.json", {"url": "redis://h"})
    said = json.loads((place / "x.json").read_text())
    assert said["boot"] == machine.boot_id() != ""
    (place / "x.json").write_text(json.dumps({**said, "boot": "another boot"}))
    assert runtime.read("x.json") is None
    del said["boot"]
    (place / "x.json").write_text(json.dumps(said))
    assert runtime.read("x.json") is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604])
def test_a_file_that_others_could_touch_is_not_believed(place, mode):
    runtime.write("x.json", {})
    (place / "x.json").chmod(mode)
    assert runtime.read("x.json") is None


def test_a_link_is_not_followed(place, tmp_path):
    runtime.write("x.json", {})
    (place / "x.json").rename(tmp_path / "elsewhere.json")
    (place / "x.json").symlink_to(tmp_path / "elsewhere.json")
    assert runtime.read("x.json") is None


@root_only
def test_a_file_of_somebody_else_is_not_believed(place):
    runtime.write("x.json", {})
    os.chown(place / "x.json", 12345, 12345)
    assert runtime.read("x.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '"text"'])
def test_junk_is_not_believed(place, text):
    runtime.write("x.json", {})
    (place / "x.json").write_text(text)
    assert runtime.read("x.json") is None


def test_bytes_that_are_no_text_are_not_believed(place):
    runtime.write("x.json", {})
    (place / "x.json").write_bytes(b"\xff\xfe\x00")
    assert runtime.read("x.json") is None


# -- locks -----------------------------------------------------------------------------------------------------------


def take_elsewhere() -> bool:
    """Whether another process gets the lock."""
    code = (
        f"import sys, tempfile; tempfile.tempdir = {tempfile.tempdir!r}\n"
        "from hubnet.runtime import Lock; sys.exit(0 if Lock('x.lock').take() else 3)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert ended.returncode in {0, 3}
    return ended.returncode == 0


def test_a_lock_keeps_other_processes_out_until_it_is_closed(place):
    lock = runtime.Lock("x.lock")
    assert not lock.held
    assert lock.take()
    assert lock.held
    assert not take_elsewhere()
    lock.close()
    assert not lock.held
    assert take_elsewhere()
    lock.close()


def test_a_forked_child_does_not_keep_the_lock(place):
    """Held by its taker alone: when that dies, another gets it, children or not."""
    read, write = os.pipe()
    owner = os.fork()
    if owner == 0:
        try:
            assert runtime.Lock("x.lock").take()
            child = os.fork()
            if child == 0:
                os.close(write)
                os.read(os.dup(read), 0)
                import signal

                signal.pause()
            os.write(write, child.to_bytes(8, "little"))
        finally:
            os._exit(0)
    child = int.from_bytes(os.read(read, 8), "little")
    os.waitpid(owner, 0)
    try:
        assert take_elsewhere()
    finally:
        os.kill(child, 9)
        os.close(read)
        os.close(write)


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_the_machines_secret_is_made_once(place):
    first = runtime.machine_secret()
    assert first.startswith("hubnet1-")
    assert runtime.machine_secret() == first


def test_processes_that_ask_at_the_same_time_get_the_same_secret(place):
    code = (
        f"import sys, tempfile; tempfile.tempdir = {tempfile.tempdir!r}\n"
        "from hubnet.runtime import machine_secret\nsys.stdin.read()\nprint(machine_secret())"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(6)]
    for process in processes:
        process.stdin.close()
    secrets = set()
    for process in processes:
        secrets.add(process.stdout.read())
        process.stdout.close()
        assert process.wait(60) == 0
    assert len(secrets) == 1


def test_a_secret_of_before_this_boot_is_made_anew(place):
    first = runtime.machine_secret()
    path = place / "secret.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another boot"}))
    assert runtime.machine_secret() != first


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    path = folder / "secret"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{TOKEN}\n", [TOKEN]),
        (TOKEN, [TOKEN]),
        (f"\n  {TOKEN}  \r\n\r\n{OTHER}\r\n", [TOKEN, OTHER]),
        (f"\ufeff{TOKEN}\n{OTHER}", [TOKEN, OTHER]),
        ("a passphrase with blanks\n", ["a passphrase with blanks"]),
        ("crème brûlée au café\n", ["crème brûlée au café"]),
    ],
    ids=["one", "no newline", "several lines, blanks, CRLF", "byte order mark", "passphrase", "unicode"],
)
def test_a_file_holds_one_secret_a_line(file, content, expected):
    file.write_bytes(content.encode())
    assert runtime.secrets_in(str(file)) == expected


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_blank_file_is_refused_with_advice(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"HUBNET_SECRET_FILE.*hubnet secret new"):
        runtime.secrets_in(str(file))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o777])
def test_a_file_that_others_can_read_is_refused(file, mode):
    file.write_text(TOKEN)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=r"HUBNET_SECRET_FILE.*chmod 600") as caught:
        runtime.secrets_in(str(file))
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_can_write_is_refused(file, mode):
    file.write_text(TOKEN)
    file.parent.chmod(mode)
    with pytest.raises(ConfigError, match=r"HUBNET_SECRET_FILE.*chmod 700"):
        runtime.secrets_in(str(file))


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o1777])
def test_a_folder_that_others_can_read_or_a_sticky_one_will_do(file, mode):
    file.write_text(TOKEN)
    file.parent.chmod(mode)
    assert runtime.secrets_in(str(file)) == [TOKEN]


def test_through_a_link_the_true_folder_counts(file, tmp_path):
    file.write_text(TOKEN)
    file.parent.chmod(0o777)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(ConfigError, match="chmod 700"):
        runtime.secrets_in(str(tmp_path / "link"))


@root_only
def test_a_file_of_somebody_else_is_refused(file):
    file.write_text(TOKEN)
    os.chown(file, 12345, 12345)
    with pytest.raises(ConfigError, match="HUBNET_SECRET_FILE"):
        runtime.secrets_in(str(file))


@pytest.mark.parametrize("content", [b"\xff\xfeh\0u\0b\0", b"\xe9t\xe9 is a summer secret"])
def test_a_file_in_another_encoding_is_refused_without_showing_it(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="HUBNET_SECRET_FILE") as caught:
        runtime.secrets_in(str(file))
    assert "summer" not in str(caught.value)


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/", "/proc"])
def test_what_is_no_file_is_refused_by_name(path):
    with pytest.raises(ConfigError, match=f"HUBNET_SECRET_FILE.*{path}"):
        runtime.secrets_in(path)


def test_what_only_leads_out_of_the_engines_folder_is_judged(file, monkeypatch, tmp_path):
    engines = tmp_path / "engine"
    engines.mkdir()
    monkeypatch.setattr(runtime, "_DOCKER_SECRETS", engines)
    file.write_text(TOKEN)
    file.chmod(0o666)
    (engines / "link").symlink_to(file)
    around = engines / ".." / file.relative_to(tmp_path) if tmp_path in file.parents else engines / "link"
    for path in (engines / "link", around):
        with pytest.raises(ConfigError, match="others can read"):
            runtime.secrets_in(str(path))


def test_a_secret_mounted_by_the_engine_will_do_as_it_is(file, monkeypatch):
    file.write_text(TOKEN)
    file.chmod(0o444)
    file.parent.chmod(0o755)
    monkeypatch.setattr(runtime, "_DOCKER_SECRETS", file.parent)
    assert runtime.secrets_in(str(file)) == [TOKEN]

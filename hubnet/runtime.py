"""The private directory of this machine and user, and files that hold secrets.

Here the embedded broker leaves its address and the net made on one machine its secret. The directory stands under the
system's temporary directory, never in the home, which may be shared over a network. Nothing in it is believed unless
its owner is this user, nobody else may read it, it is no link, and it was written since this boot.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

from hubnet import machine
from hubnet.core.keys import new_token
from hubnet.errors import ConfigError

_one_thread = threading.Lock()
_DOCKER_SECRETS = Path("/run/secrets")


def _path() -> Path:
    try:
        return Path(tempfile.gettempdir()) / f"hubnet-{os.getuid()}"
    except OSError as error:
        raise _unusable("any folder for temporary files", error) from error


def _unusable(what: object, error: OSError) -> ConfigError:
    """A folder that is not there, or that takes nothing more."""
    return ConfigError(
        f"cannot use {what} ({error.strerror}): give HUBNET_REDIS_URL and HUBNET_SECRET, or set TMPDIR to a folder of yours"
    )


def directory() -> Path:
    """This user's directory, made if need be.

    Raises:
        ConfigError: somebody else made it, it is a link, or others may enter it.
    """
    path = _path()
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        seen = path.lstat()
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise ConfigError(
            f"{path} is not a private directory of this user (owner, link or mode): remove it, or set TMPDIR"
        )
    return path


def read(name: str) -> dict[str, Any] | None:
    """A file of the private directory, if it was written since this boot; otherwise None."""
    if not _path().exists():
        return None  # reading makes nothing
    try:
        descriptor = os.open(directory() / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor) as file:
        seen = os.fstat(descriptor)
        if seen.st_uid != os.getuid() or seen.st_mode & 0o077:
            return None
        try:
            said = json.load(file)
        except ValueError:
            return None
    return said if isinstance(said, dict) and said.get("boot") == machine.boot_id() else None


def write(name: str, said: dict[str, Any]) -> None:
    """Put a file of the private directory in place at once, never half written.

    Raises:
        ConfigError: the disk is full, or the directory cannot be used.
    """
    folder = directory()
    draft = ""
    try:
        descriptor, draft = tempfile.mkstemp(dir=folder, prefix=f".{name}-")  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump({**said, "boot": machine.boot_id()}, file)
        Path(draft).replace(folder / name)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise _unusable(folder, error) from error


def replace_text(file: Path, text: str) -> None:
    """Put other words into a private file at once, never half written; it keeps its owner, and nobody else may read it."""
    descriptor, draft = tempfile.mkstemp(dir=file.resolve().parent, prefix=f".{file.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(text)
        seen = file.stat()
        if (seen.st_uid, seen.st_gid) != (os.getuid(), os.getgid()):
            os.chown(draft, seen.st_uid, seen.st_gid)
        Path(draft).replace(file.resolve())
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


class Lock:
    """A lock file of the private directory, held until closed or until this process dies, children or not."""

    def __init__(self, name: str) -> None:
        path = directory() / name
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        self.held = False

    def take(self, *, wait: bool = False) -> bool:
        """Whether the lock is ours now."""
        try:  # POSIX record locks: a forked child does not inherit them
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            self.held = True
        except OSError:
            self.held = False
        return self.held

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self.held = -1, False


def machine_secret() -> str:
    """The secret of the nets of this machine and user, made by whoever asks first."""
    said = read("secret.json")
    if said is None:
        with _one_thread:  # the lock below is the process's
            lock = Lock("secret.lock")
            try:
                lock.take(wait=True)
                said = read("secret.json")
                if said is None:
                    said = {"secret": new_token(os.urandom(32))}
                    write("secret.json", said)
            finally:
                lock.close()
    return str(said["secret"])


def secrets_in(path: str) -> list[str]:
    """The secrets of a file, one a line.

    Raises:
        ConfigError: it cannot be read, is empty, or others than its owner can read it or write beside it.
    """
    text = private_bytes("HUBNET_SECRET_FILE", path).decode("utf-8-sig", errors="replace")
    if "\ufffd" in text:  # not by a UnicodeDecodeError, which would show all that was read
        raise ConfigError(f"HUBNET_SECRET_FILE: {path} is not text in UTF-8")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ConfigError(f"HUBNET_SECRET_FILE: {path} is empty; `hubnet secret new` prints a secret")
    return lines


def private_bytes(variable: str, path: str) -> bytes:
    """What is in a file that is its owner's alone.

    Args:
        variable: who named the file, for errors.
        path: the file.

    Raises:
        ConfigError: it cannot be read, or others than its owner can read it or write beside it.
    """
    file = Path(path)
    try:
        real = file.resolve(strict=True)  # asked once: what is opened is what is judged
        with real.open("rb") as open_file:
            seen, content = os.fstat(open_file.fileno()), open_file.read()
        folders = dict.fromkeys((*file.absolute().parents, *real.parents))
        looked_at = [(folder, folder.stat()) for folder in folders]
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error}") from error
    if _DOCKER_SECRETS in real.parents:  # the engine owns that folder; what only leads out of it is judged
        return content
    if seen.st_uid not in {0, os.getuid()}:
        raise ConfigError(f"{variable}: {path} belongs to somebody else: chown it to the user that runs this")
    if seen.st_mode & 0o077:
        raise ConfigError(f"{variable}: others can read {path}: chmod 600 it")
    for folder, state in looked_at:
        if state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX:
            raise ConfigError(f"{variable}: others can write the folder of {path}: chmod 700 {folder}")
        if state.st_uid not in {0, os.getuid()}:
            raise ConfigError(
                f"{variable}: {folder} belongs to somebody else, who can replace {path}: move it elsewhere"
            )
    return content

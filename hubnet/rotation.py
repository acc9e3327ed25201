"""The secrets of this peer while it runs: read at the start, and from their file again whenever that changes.

Whoever uses the ring uses what is in it at that moment; links made under an earlier secret are renewed by those who dialled
them, and what is left of a secret that is accepted no more is cut off a few seconds later. A file that cannot be used changes
nothing, and says so in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hubnet import machine, runtime
from hubnet.broker import Broker
from hubnet.core.keys import Keyring
from hubnet.environment import Settings
from hubnet.errors import ConfigError
from hubnet.links.threads import begin

STATE = "hubnet:secrets"
_LOOK = 1.0
_RENEWED_EVERY = 3.0
_GRACE = 3.0
_log = logging.getLogger("hubnet")


def keyring(settings: Settings, broker: Broker) -> Keyring:
    """The secrets that a peer with these settings accepts.

    Raises:
        ConfigError: there is none, or one that cannot be used; or others than its owner can read the file.
    """
    return Keyring.of(_secrets(settings, broker), settings.namespace)


def _secrets(settings: Settings, broker: Broker) -> list[str]:
    secrets = [part.strip() for part in settings.secret.split(",") if part.strip()]
    if settings.secret_file:
        secrets += runtime.secrets_in(settings.secret_file)
    if not secrets:
        if not broker.local or (settings.host and not machine.is_loopback(settings.host)):
            raise ConfigError(
                "HUBNET_SECRET: beyond one machine a secret is required: `hubnet secret new` prints one; give it to "
                "every peer as HUBNET_SECRET, or in a file named by HUBNET_SECRET_FILE"
            )
        secrets = [runtime.machine_secret()]
    return secrets


class Rotation:
    """Watches the file of secrets of one peer, where there is one."""

    def __init__(
        self, ring: Keyring, settings: Settings, broker: Broker, *,
        changed: Callable[[], None], renew: Callable[[], None], cut: Callable[[], None],
    ) -> None:  # fmt: skip
        """Make a watcher that rests.

        Args:
            ring: what it keeps up to date.
            settings: where the secrets are.
            broker: as for ``keyring``.
            changed: called when the ring has changed.
            renew: called then, and now and again while several are accepted: whoever knew only an old one when it was dialled
                may know the first by now.
            cut: called some seconds after a change.
        """
        self._ring = ring
        self._settings = settings
        self._broker = broker
        self._changed = changed
        self._renew = renew
        self._cut = cut
        self._stopping = threading.Event()
        self._seen = self._stamp()
        self._trouble = ""
        self._renewed = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Begin to watch; whether there is a thread for it. A peer without such a file needs none."""
        if self._settings.secret_file and self._thread is None:
            self._thread = begin(self._run, "hubnet-secrets")
        return not self._settings.secret_file or self._thread is not None

    def close(self) -> None:
        """Watch no longer."""
        self._stopping.set()
        if self._thread:
            self._thread.join(2)

    def _stamp(self) -> tuple[int, ...]:
        """What tells two states of the file apart."""
        try:
            seen = Path(self._settings.secret_file).stat()
        except OSError:
            return ()
        return seen.st_ino, seen.st_mtime_ns, seen.st_size, seen.st_mode, seen.st_uid

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK):
            try:
                self._look()
            except Exception:
                _log.exception("looking after the secrets failed")

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp != self._seen or self._trouble:
            self._seen = stamp
            if self._read():
                self._renew()
                if not self._stopping.wait(_GRACE):
                    self._cut()
        elif len(self._ring.keys) > 1 and time.monotonic() - self._renewed > _RENEWED_EVERY:
            self._renewed = time.monotonic()
            self._renew()

    def _read(self) -> bool:
        """Whether other secrets are accepted now, or in another order."""
        try:
            fresh = keyring(self._settings, self._broker)
        except ConfigError as error:  # it may be the folder that is wrong, which the file does not show: look again
            if str(error) != self._trouble:
                _log.error("the secrets stay as they were: %s", error)
            self._trouble = str(error)
            return False
        self._trouble = ""
        if list(fresh.keys) == list(self._ring.keys):
            return False
        self._ring.replace(fresh.keys.values())
        kids = ", ".join(kid.hex() for kid in fresh.keys)
        _log.warning("other secrets from now on, by key id: %s; the first is used, all are accepted", kids)
        self._changed()
        return True

"""The eye: who joined and who left, as hubs tell all who list. A user has no door to it, so it looks at the channel itself."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable

import redis

from hubnet.core.channels import Names
from hubnet.core.envelopes import Opener
from hubnet.core.keys import Keyring
from hubnet.core.sequence import Sequence

from .ledger import Ledger


class Eye:
    """A thread that notes presence, and when it could not hear any."""

    def __init__(self, connect: Callable[[], redis.Redis], secret: str, ledger: Ledger) -> None:
        self._connect = connect
        self._ledger = ledger
        self._channel = Names("default").presence
        self._opener = Opener(Keyring.of([secret], "default"))
        self._sequence = Sequence()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(redis.RedisError, OSError, AssertionError):
                self._look()
            self._ledger.write("deaf")
            self._stop.wait(0.05)

    def _look(self) -> None:
        with self._connect() as client, client.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            silent_since = time.monotonic()
            while not self._stop.is_set():
                message = pubsub.get_message(ignore_subscribe_messages=True, timeout=0.2)
                if message is not None:
                    self._note(message["data"])
                elif time.monotonic() - silent_since > 1:
                    pubsub.ping()  # a stopped server is silent as well
                    silent_since = time.monotonic()

    def _note(self, data: bytes) -> None:
        if not isinstance(data, bytes) or not data.startswith(b"HUBE"):
            return
        channel = self._channel.encode()
        envelope = self._opener.open(channel, data)
        arrival = self._sequence.arrive(envelope.sender.incarnation, channel, envelope.first, envelope.size)
        if arrival.lost:
            self._ledger.write("deaf")
        for number, body in enumerate(envelope.bodies()):
            if number >= arrival.repeated:
                for news, peer_id in json.loads(bytes(body)):
                    self._ledger.write("presence", news=news, id=peer_id, by=envelope.sender.peer_id.decode())

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(10)

"""What runs in an attacker's container: it has the network, hubnet's own code and a user of Redis; all but the secret.

The file is copied there and imported by the process that a test talks to. Everything is noted as it happens, so that a test
can ask afterwards what was heard, refused or rebuilt.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from hubnet.core import signing
from hubnet.core.channels import Names
from hubnet.core.envelopes import Packer, Sender
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring, new_token

NAMES = Names("default")
FORGED = Keyring.of([new_token(b"what an attacker has is another.")], "default")
SANG = Path("/tmp/sang")
CENTURY = 4e12


class Canary:
    """Leaves a folder in the container that rebuilds it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(SANG),)


CANARY = pickle.dumps(Canary())


def client(user: str, password: str) -> redis.Redis:
    """Redis, as one of the net's two users."""
    return redis.Redis(host="redis", username=user, password=password, socket_timeout=10)


# -- Redis: what is published ----------------------------------------------------------------------------------------


class Ear:
    """Hears and keeps whatever is published in the namespace.

    Attributes:
        kept: channel and data.
    """

    def __init__(self, store: redis.Redis) -> None:
        self.kept: list[tuple[bytes, bytes]] = []
        self._listening = store.pubsub()
        self._listening.psubscribe("hubnet:default:*")
        assert self._listening.get_message(timeout=10)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            message = self._listening.get_message(ignore_subscribe_messages=True, timeout=1)
            if message:
                self.kept.append((message["channel"], message["data"]))

    def of(self, channel: str) -> list[bytes]:
        """The envelopes with events in them that came by this channel; marks have none."""
        return [data for by, data in self.kept if by == channel.encode() and int.from_bytes(data[8:12], "little")]


def forgeries(recorded: bytes, channel: str) -> list[bytes]:
    """Whatever one can publish on a channel without the secret, each with a canary where it has room for one."""
    sender = Sender(generate_id(3010, "10.0.0.1", "east"), os.urandom(16), True, "machine")
    signed_otherwise = Packer(sender, FORGED).pack(channel.encode(), 0, [CANARY, CANARY])
    flipped = bytes((recorded[len(recorded) // 2] ^ 1,))
    with_its_key_id = signed_otherwise[:20] + recorded[20:28] + signed_otherwise[28:]
    return [
        CANARY,
        b"HUBE" + CANARY,
        signed_otherwise,
        with_its_key_id,
        recorded[:-1],
        recorded[: len(recorded) // 2] + flipped + recorded[len(recorded) // 2 + 1 :],
        recorded[:12] + struct.pack("<Q", 1 << 40) + recorded[20:],  # its number
        recorded[:-16] + signed_otherwise[-16:],
        b"",
    ]


# -- Redis: what is written ------------------------------------------------------------------------------------------


class Writer:
    """Writes the register over and over, until it is told to end.

    Attributes:
        written: how many commands Redis took.
        refused: how many it did not allow.
        rounds: how often all of it was written over.
    """

    def __init__(self, store: redis.Redis, host: str, port: int) -> None:
        self._store = store
        self._trap = {"host": host, "port": port}
        self.written = self.refused = self.rounds = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> tuple[int, int, int]:
        """Stop; rounds, commands that were taken, commands that were not."""
        self._ends.set()
        self._thread.join(20)
        return self.rounds, self.written, self.refused

    def _run(self) -> None:
        while not self._ends.wait(0.02):
            for command in self._commands():
                try:
                    self._store.execute_command(*command)
                    self.written += 1
                except redis.exceptions.NoPermissionError:
                    self.refused += 1
                except redis.ResponseError:
                    pass  # such as a count that is none
            self.rounds += 1

    def _commands(self) -> Iterator[tuple[Any, ...]]:
        yield from self._led_astray()
        nobody = generate_id(self._trap["port"], self._trap["host"], "east")
        made_up = {
            "id": nobody.decode(),
            "hub": True,
            "state": "open",
            "incarnation": "00" * 16,
            "revision": 1,
            **self._trap,
        }
        place = NAMES.peers("east")
        yield "HSET", place, nobody, signing.sign(made_up, f"{place}|{nobody.decode()}", FORGED)
        yield "HSET", NAMES.hubs, nobody, signing.sign(made_up, f"{NAMES.hubs}|{nobody.decode()}", FORGED)
        yield "HSET", NAMES.hubs, b"canary", CANARY
        yield "HSET", place, b"canary", CANARY
        yield "ZADD", NAMES.leases, CENTURY, nobody
        yield "HINCRBY", NAMES.version, "counter", 1

    def _led_astray(self) -> Iterator[tuple[Any, ...]]:
        """Every record and hub's entry leads to the trap: unsigned, signed otherwise, or with another's whole record."""
        standing: list[tuple[str, bytes, bytes]] = []
        with suppress(redis.exceptions.NoPermissionError):
            groups = [group.decode() for group in self._store.smembers(NAMES.groups)]
            for key in [NAMES.hubs, *(NAMES.peers("") + group for group in groups)]:
                standing += [(key, field, text) for field, text in self._store.hgetall(key).items()]
        anothers = [text for _, _, text in standing]
        for number, (key, field, text) in enumerate(standing):
            try:
                said = {**json.loads(text), **self._trap}
            except (ValueError, TypeError):
                continue
            place = f"{key}|{field.decode(errors='replace')}"
            forms = json.dumps(said), signing.sign(said, place, FORGED), anothers[number - 1]  # that of the one before
            yield "HSET", key, field, forms[(self.rounds + number) % len(forms)]
        if not standing:  # it may not even look
            yield "HSET", NAMES.hubs, b"10.0.0.1", json.dumps(self._trap)


# -- the network -----------------------------------------------------------------------------------------------------


class Impostor:
    """Listens where peers are to be led, and keeps what each visitor says.

    Attributes:
        heard: by visitor.
    """

    def __init__(self, port: int = 0) -> None:
        self._listening = socket.create_server(("0.0.0.0", port))
        self.port = int(self._listening.getsockname()[1])
        self.heard: list[bytes] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            link, _ = self._listening.accept()
            self.heard.append(b"")
            threading.Thread(target=self._note, args=(link, len(self.heard) - 1), daemon=True).start()

    def _note(self, link: socket.socket, visitor: int) -> None:
        with link, suppress(OSError):
            while data := link.recv(65536):
                self.heard[visitor] += data


class Sniffer:
    """Hears whatever passes the interfaces of its network namespace, and puts the streams of TCP together."""

    _SOL_PACKET, _STATISTICS, _EVERYTHING = 263, 6, 3

    def __init__(self) -> None:
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self._EVERYTHING))
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self._raw.settimeout(0.2)
        self._segments: dict[tuple[str, int, str, int], dict[int, bytes]] = {}
        self._frames: list[bytes] = []
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        quiet = 0
        while not (self._ends and quiet > 1):
            try:
                self._keep(self._raw.recv(1 << 17))
                quiet = 0
            except TimeoutError:
                quiet += 1

    def _keep(self, frame: bytes) -> None:
        self._frames.append(frame)
        packet = frame[14:]
        if frame[12:14] != b"\x08\x00" or packet[9] != socket.IPPROTO_TCP:
            return
        start = 4 * (packet[0] & 15)
        segment = packet[start : int.from_bytes(packet[2:4], "big") or len(packet)]
        source, target, number = struct.unpack(">HHI", segment[:8])
        flow = socket.inet_ntoa(packet[12:16]), source, socket.inet_ntoa(packet[16:20]), target
        if payload := segment[4 * (segment[12] >> 4) :]:
            kept = self._segments.setdefault(flow, {})
            if len(payload) > len(kept.get(number, b"")):
                kept[number] = payload

    def end(self) -> int:
        """Stop once nothing more comes; how many frames the kernel could not give us."""
        self._ends = True
        self._thread.join(30)
        said = self._raw.getsockopt(self._SOL_PACKET, self._STATISTICS, 8)
        return int(struct.unpack("II", said)[1])

    def streams(self) -> dict[tuple[str, int, str, int], bytes]:
        """What was said, by source and target, without what was said twice."""
        return {flow: b"".join(_in_order(segments)) for flow, segments in self._segments.items()}

    def hears(self, word: bytes) -> bool:
        """Whether it passed: in a stream, or in any frame that is none of TCP."""
        return any(word in heard for heard in (*self._frames, *self.streams().values()))

    def spoken_to(self, host: str, port: int) -> list[list[bytes]]:
        """What diallers said there, each from its first message on, in the pieces in which it came."""
        found = [list(_in_order(segments)) for flow, segments in self._segments.items() if flow[2:] == (host, port)]
        return [pieces for pieces in found if pieces[0].startswith(b"HUB1")]


def _in_order(segments: dict[int, bytes]) -> Iterator[bytes]:
    end = min(segments)
    for number in sorted(segments):
        if (fresh := segments[number][max(0, end - number) :]) or number >= end:
            yield fresh
            end = max(end, number + len(segments[number]))


def say(host: str, port: int, words: bytes, patience: float = 12.0) -> tuple[bytes, float]:
    """Say this as a stranger; all that is answered until it is closed, and the seconds that took."""
    begin, answer = time.monotonic(), b""
    with socket.create_connection((host, port), timeout=patience) as link, suppress(ConnectionError):
        with suppress(ConnectionError):
            link.sendall(words)
        while data := link.recv(4096):  # a TimeoutError is for the test
            answer += data
    return answer, time.monotonic() - begin


def say_again(host: str, port: int, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Play a recorded dialler: its first message, and the rest once that was answered; the answer, and what came then."""
    with socket.create_connection((host, port), timeout=12) as link:
        link.sendall(pieces[0])
        answer, more = link.recv(4096), b""
        with suppress(ConnectionError):
            link.sendall(b"".join(pieces[1:]))
            while data := link.recv(4096):
                more += data
    return answer, more


class HalfOpen:
    """Links that say a little, or nothing, and then no more."""

    def __init__(self, host: str, port: int, words: list[bytes]) -> None:
        self._links = [socket.create_connection((host, port), timeout=12) for _ in words]
        for link, begun in zip(self._links, words, strict=True):
            link.sendall(begun)

    def answers(self) -> list[bytes]:
        """What each was answered until it was closed; a TimeoutError is for the test."""
        found = []
        for link in self._links:
            answer = b""
            with link, suppress(ConnectionError):
                while data := link.recv(4096):
                    answer += data
            found.append(answer)
        return found

"""Hosts to socket addresses, within a deadline.

A name lookup on a cut network hangs for 10 s whatever the connect timeout, so it runs in a thread of its own; the last
good answer serves while the new one is late.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

Resolved = list[tuple[int, tuple[Any, ...]]]
_last_good: dict[str, Resolved] = {}
_MOST_NAMES = 1000
_PATIENCE_WITH_LAST_GOOD = 0.5


class UnknownName(OSError):
    """A name that leads nowhere."""


def resolve(host: str, port: int, deadline: float) -> Resolved:
    """Address families and socket addresses of host and port, best first.

    Raises:
        UnknownName: it did not resolve before the deadline (seconds, monotonic), or does not exist.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
            return [(family, (host, port))]
        except (OSError, UnicodeError):
            continue
    answer: list[Resolved | OSError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.append([(family, address) for family, _, _, _, address in found])
        except OSError as error:
            answer.append(error)
        except UnicodeError as error:
            answer.append(OSError(f"no host name: {error}"))
        done.set()

    known = [(family, (ip, port, *rest)) for family, (ip, _, *rest) in _last_good.get(host, ())]
    try:
        threading.Thread(target=look_up, name=f"hubnet-lookup-{host}", daemon=True).start()
    except RuntimeError as error:
        if known:
            return known
        raise UnknownName(f"there is no thread to look the name {host} up with ({error})") from error
    left = deadline - time.monotonic()
    done.wait(max(0.0, min(left, _PATIENCE_WITH_LAST_GOOD) if known else left))
    if not answer:
        if known:
            return known
        raise UnknownName(f"the name {host} did not resolve in time")
    if isinstance(answer[0], OSError):
        raise UnknownName(str(answer[0])) from answer[0]
    _last_good.pop(host, None)
    _last_good[host] = answer[0]  # the last of them; the first go
    for name in list(_last_good)[:-_MOST_NAMES]:
        _last_good.pop(name, None)
    return answer[0]

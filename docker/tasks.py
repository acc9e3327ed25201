"""What the workers of this example net can do. `hubnet worker tasks` imports it and serves it.

From the shell service:

    hubnet peers
    hubnet call TARGET where
"""

import hashlib
import socket
import time
from typing import Any

import hubnet


@hubnet.connect("where")
def where() -> dict[str, Any]:
    """Tell which worker answers."""
    return {"hostname": socket.gethostname(), "group": hubnet.Peer().group}


@hubnet.connect("checksum")
def checksum(data: bytes) -> str:
    """Hash data, large or small, on the worker."""
    return hashlib.sha256(data).hexdigest()


@hubnet.event("frame_done")
def frame_done(frame: int, started: float) -> tuple[tuple[int], dict[str, Any]]:
    """Return what subscribers of "frame_done" get: positional and keyword arguments."""
    return (frame,), {"hostname": socket.gethostname(), "seconds": time.monotonic() - started}


@hubnet.connect("finish")
def finish(frame: int, seconds: float = 0.0) -> int:
    """Stand for a render: work on a frame, so long at least, then tell everyone who listens."""
    started = time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"frame", str(frame).encode(), 50_000)
    time.sleep(seconds)
    frame_done(frame, started)
    return frame

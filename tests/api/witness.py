"""Seeing from outside what an example of the document does: its functions run as printed, and a profile notes their arguments."""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import eventually

from .conftest import SIGCONT, SIGSTOP, SIGTERM, Actor

_LIVE = """
len(hubnet.Peer().subscriptions) == len(hubnet.Peer().tables.subscriptions)
and all(hubnet.Peer().ready().subscriber.is_live(one) for one in hubnet.Peer().subscriptions)
"""
EVERYTHING = """
everything = []
hubnet.subscribe("some_event")(lambda *args, **kwargs: everything.append(args[0]))
"""


def serves(pid: int) -> bool:
    """Whether a process has come as far as to look after signals."""
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> (SIGTERM - 1) & 1)


def watching(*functions: str) -> str:
    """Code that notes the arguments of each call of these functions, on whatever thread: a list of dicts named ``ran``."""
    return f"""
import sys, threading
ran, _watched = [], {functions!r}
def _note(frame, what, _):
    of = frame.f_globals if "_watched" in frame.f_globals else globals()  # in memory the profile sees all peers
    if what == "call" and frame.f_code.co_name in of["_watched"]:
        of["ran"].append(dict(frame.f_locals))
threading.setprofile(_note)
sys.setprofile(_note)
"""


def live(actor: Actor) -> Actor:
    """Wait until Redis has confirmed all of its subscriptions."""
    expression = f"({_LIVE})"
    eventually(lambda: actor.ask(expression))
    return actor


def id_of(actor: Actor) -> bytes:
    """The id of its peer."""
    peer_id: bytes = actor.ask("hubnet.Peer().id")
    return peer_id


def path_tag(path: str) -> str:
    """The tag of an untagged function."""
    return base64.b64encode(path.encode()).decode()


def parameters(function: Callable[..., Any]) -> str:
    """A function's parameters as the document prints them; those that come by keyword alone are hubnet's own."""
    signature = inspect.signature(function)
    shown = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in signature.parameters.values()
        if one.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    return str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty))


@contextmanager
def stopped(*actors: Actor) -> Iterator[None]:
    """Nobody can ask these for anything."""
    for one in actors:
        one.signal(SIGSTOP)
    eventually(lambda: all(one.rests for one in actors))  # a busy machine takes its time
    try:
        yield
    finally:
        for one in actors:
            one.signal(SIGCONT)

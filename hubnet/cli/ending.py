"""How a command ends: every error of hubnet becomes one line on standard error and an exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hubnet.cli.shown import shown, shown_lines
from hubnet.errors import (
    BrokerUnavailable,
    CallTimeout,
    ConfigError,
    HubnetError,
    NoHub,
    NoPeer,
    PeerUnreachable,
    RemoteError,
)

OK, FAILED, USAGE, NOBODY, LATE = 0, 1, 2, 3, 4
INTERRUPTED = 128 + signal.SIGINT
PIPE = 128 + signal.SIGPIPE

_CODES: tuple[tuple[type[HubnetError], int], ...] = (
    (ConfigError, USAGE),
    (NoHub, NOBODY),
    (BrokerUnavailable, NOBODY),
    (PeerUnreachable, NOBODY),
    (NoPeer, NOBODY),
    (CallTimeout, LATE),
)


def exit_code(error: HubnetError) -> int:
    """The exit code that an error stands for."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def say_error(text: str) -> None:
    """One line on standard error."""
    print(f"hubnet: {shown(text)}", file=sys.stderr, flush=True)  # noqa: T201 - a command's voice


@contextmanager
def ends_quietly() -> Iterator[None]:
    """Run a command's body: its errors, Ctrl-C and a reader that went away become exit codes."""
    try:
        yield
        sys.stdout.flush()
    except HubnetError as error:  # before OSError: some of ours are both
        _tell(error)
        raise SystemExit(exit_code(error)) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the goodbye, which is short
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains when it flushes
        raise SystemExit(PIPE) from None


def _tell(error: HubnetError) -> None:
    if not isinstance(error, RemoteError):
        say_error(str(error))
        return
    say_error(str(error.args[0]))
    if error.traceback_text:
        lines = shown_lines(error.traceback_text.rstrip())
        print(f"The traceback over there:\n{lines}", file=sys.stderr, flush=True)  # noqa: T201

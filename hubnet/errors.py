"""The error tree: every error of hubnet says who is to blame, whether the call ran, and what to try.

This is the lowest floor: it imports nothing. ``.ran`` is one of ``NO``, ``MAYBE`` and ``YES``; only a call whose
``.ran`` is ``NO`` is ever repeated by hubnet itself.
"""

from __future__ import annotations

NO, MAYBE, YES = "NO", "MAYBE", "YES"


class HubnetError(Exception):
    """Root of everything that hubnet raises on purpose."""

    ran = NO


def causes(error: BaseException | None) -> list[BaseException]:
    """An error, and one after the other what it came of; each once, for errors that are raised again may stand in a circle."""
    found: list[BaseException] = []
    while error is not None and not any(error is one for one in found):
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


class ConfigError(HubnetError, ValueError):
    """A wrong wish: the text names the variable or parameter that holds it, the value, and what is allowed."""


class NoHub(HubnetError):
    """No hub answered in time, so nobody could say who is there."""


class BrokerUnavailable(HubnetError):
    """Redis is out of reach."""


class UnknownFlag(HubnetError):
    """The function ran and answered with a flag that has no handler here."""

    ran = YES


class ProtocolError(HubnetError):
    """The rules of the wire were broken."""


class LocalProtocolError(ProtocolError):
    """By us: a defect of hubnet."""


class RemoteProtocolError(ProtocolError):
    """By the other side."""


class AuthenticationError(HubnetError):
    """Wrong secret, wrong peer, replay or bad signature."""


class EncodeError(HubnetError):
    """This value cannot travel; the text names it."""

    def __init__(self, message: str, *, ran: str = NO) -> None:
        super().__init__(message)
        self.ran = ran


class DecodeError(HubnetError):
    """This value cannot be rebuilt here."""

    def __init__(self, message: str, *, ran: str = NO) -> None:
        super().__init__(message)
        self.ran = ran


class CallError(HubnetError):
    """A call that did not return a result.

    Attributes:
        connection: the tag that was called, or None.
        peer: the id (bytes) or address of the peer that was called, or None.
        ran: whether the function ran over there: ``NO``, ``MAYBE`` or ``YES``.
    """

    def __init__(
        self, message: str, *, connection: str | None = None, peer: object = None, ran: str | None = None
    ) -> None:
        super().__init__(message)
        self.connection = connection
        self.peer = peer
        if ran is not None:
            self.ran = ran


class InvalidConnection(CallError):
    """The peer has no such connection; the text lists those it has. Or its function ran and answered so itself."""


class NotAllowed(CallError):
    """The peer has the connection, but not for this caller."""


class NoPeer(CallError):
    """Nobody matches the selection."""


class PeerUnreachable(CallError, ConnectionRefusedError):
    """The peer could not be reached, so the call did not run."""


class PeerBusy(CallError):
    """The peer is full or draining; the call did not run."""


class CallTimeout(CallError, TimeoutError):
    """The deadline passed; the call may have run, or may still be running."""

    ran = MAYBE


class PeerLost(CallError):
    """The link broke, or the register says that the peer is gone, while the call was under way."""

    ran = MAYBE


class CallCancelled(CallError):
    """The call was cancelled."""

    ran = MAYBE


class RemoteError(CallError):
    """The function raised over there.

    Attributes:
        type_name: qualified name of the exception's type.
        traceback_text: the remote traceback, cause chain included.
    """

    ran = YES

    def __init__(
        self,
        message: str,
        *,
        type_name: str = "",
        traceback_text: str = "",
        connection: str | None = None,
        peer: object = None,
    ) -> None:
        super().__init__(message, connection=connection, peer=peer)
        self.type_name = type_name
        self.traceback_text = traceback_text

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n\nThe traceback over there:\n{self.traceback_text}" if self.traceback_text else text

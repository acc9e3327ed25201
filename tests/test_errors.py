"""The error tree: bases, what each says of whether the call ran, and that each survives pickling."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from hubnet import errors
from hubnet.errors import MAYBE, NO, YES

# name: direct bases, ran. ARCHITECTURE.md, Errors.
TREE = {
    "HubnetError": (("Exception",), NO),
    "ConfigError": (("HubnetError", "ValueError"), NO),
    "NoHub": (("HubnetError",), NO),
    "BrokerUnavailable": (("HubnetError",), NO),
    "UnknownFlag": (("HubnetError",), YES),
    "ProtocolError": (("HubnetError",), NO),
    "LocalProtocolError": (("ProtocolError",), NO),
    "RemoteProtocolError": (("ProtocolError",), NO),
    "AuthenticationError": (("HubnetError",), NO),
    "EncodeError": (("HubnetError",), NO),
    "DecodeError": (("HubnetError",), NO),
    "CallError": (("HubnetError",), NO),
    "InvalidConnection": (("CallError",), NO),
    "NotAllowed": (("CallError",), NO),
    "NoPeer": (("CallError",), NO),
    "PeerUnreachable": (("CallError", "ConnectionRefusedError"), NO),
    "PeerBusy": (("CallError",), NO),
    "CallTimeout": (("CallError", "TimeoutError"), MAYBE),
    "PeerLost": (("CallError",), MAYBE),
    "CallCancelled": (("CallError",), MAYBE),
    "RemoteError": (("CallError",), YES),
}
each = pytest.mark.parametrize("name", TREE)
each_call_error = pytest.mark.parametrize(
    "name", [name for name in TREE if issubclass(getattr(errors, name, Exception), errors.CallError)]
)


def attributes(error: BaseException) -> tuple[object, ...]:
    names = ("ran", "connection", "peer", "type_name", "traceback_text")
    return (type(error), str(error), error.args, *(getattr(error, name, None) for name in names))


def test_the_tree_has_these_errors_and_no_others():
    found = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert found == set(TREE)


@each
def test_each_error_has_its_bases(name):
    assert tuple(base.__name__ for base in getattr(errors, name).__bases__) == TREE[name][0]


@each
def test_each_error_says_whether_the_call_ran_and_what_happened(name):
    error = getattr(errors, name)("what happened")
    assert error.ran == getattr(errors, name).ran == TREE[name][1]
    assert str(error) == "what happened"


@each
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_each_error_survives_pickling(name, protocol):
    error = getattr(errors, name)("what happened")
    assert attributes(pickle.loads(pickle.dumps(error, protocol))) == attributes(error)
    assert attributes(copy.copy(error)) == attributes(error)


@each_call_error
def test_a_call_error_keeps_connection_and_peer(name):
    error = getattr(errors, name)("what happened", connection="render", peer=b"id")
    assert (error.connection, error.peer) == ("render", b"id")
    assert attributes(pickle.loads(pickle.dumps(error))) == attributes(error)


@each_call_error
def test_a_call_error_knows_neither_unless_told(name):
    error = getattr(errors, name)("what happened")
    assert (error.connection, error.peer) == (None, None)


@pytest.mark.parametrize("name", ["EncodeError", "DecodeError", "PeerLost", "CallTimeout", "CallCancelled", "PeerBusy"])
@pytest.mark.parametrize("ran", [NO, MAYBE, YES])
def test_whether_it_ran_can_be_known_better_and_survives_pickling(name, ran):
    error = getattr(errors, name)("what happened", ran=ran)
    assert error.ran == ran
    assert attributes(pickle.loads(pickle.dumps(error))) == attributes(error)
    assert getattr(errors, name).ran == TREE[name][1]


def test_an_error_of_the_other_side_shows_its_traceback_and_keeps_it():
    error = errors.RemoteError(
        "boom", type_name="builtins.ValueError", traceback_text="Traceback …", connection="render", peer=b"id"
    )
    assert str(error) == "boom\n\nThe traceback over there:\nTraceback …"
    assert attributes(pickle.loads(pickle.dumps(error))) == attributes(error)


def test_callers_of_the_reference_api_catch_what_they_expect():
    with pytest.raises(ConnectionRefusedError):
        raise errors.PeerUnreachable("nobody listens")
    with pytest.raises(TimeoutError):
        raise errors.CallTimeout("late")
    with pytest.raises(ValueError, match="port"):
        raise errors.ConfigError("port")


def test_this_floor_imports_nothing():
    lines = Path(errors.__file__).read_text().splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert imports == ["from __future__ import annotations"]


@pytest.mark.parametrize("suppressed", [False, True])
def test_what_an_error_came_of_has_an_end_where_errors_stand_in_a_circle(suppressed: bool) -> None:
    """One that is told in place of the error that it caused has that one in its context."""
    first, second, third = errors.BrokerUnavailable("first"), errors.NoHub("second"), OSError(24, "third")
    second.__cause__, first.__context__ = first, second
    first.__suppress_context__ = suppressed
    third.__context__ = first
    assert errors.causes(third) == [third, first] if suppressed else [third, first, second]
    assert errors.causes(None) == []

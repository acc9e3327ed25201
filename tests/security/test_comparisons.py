"""Proofs are compared in constant time: no line of hubnet compares one by ==, whose duration tells how much fits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubnet
from hubnet.core import envelopes, frames, handshake, signing
from hubnet.errors import AuthenticationError, RemoteProtocolError
from tests.core import ends
from tests.core.ends import RING, initiator, linked, responder
from tests.security.by_hand import NAMES, SUITES

ROOT = Path(hubnet.__file__).parent
SECRETIVE = re.compile(r"proof|prove|h?mac|sign(ed|ature)?|digest|checksum|secret|password|token|key|kid|seed", re.I)
IN_A_PROVING_ROOM = re.compile(f"{SECRETIVE.pattern}|tag|expected", re.I)  # elsewhere a tag is a connection's name
PROVING_ROOMS = {"handshake.py", "frames.py", "envelopes.py", "signing.py"}
PUBLIC = {
    "keys.py: new_token(raw[:32]) != token.lower()": "its own holder has typed it; nobody else gets to this line",
    "calling.py: link.kid != known[1].kid": "key ids are sent in clear",
    "calling.py: pool.kid != kid": "key ids are sent in clear",
    "home.py: link.kid != self._dialler.kid": "key ids are sent in clear",
    "home.py: self._link.kid != self._dialler.kid": "key ids are sent in clear",
    "serving.py: link.kid not in good": "key ids are sent in clear",
    "dial.py: link.kid not in good": "key ids are sent in clear",
    "handshake.py: wanted.digest in (ANY_ID, found.digest)": "of a peer's id, which is no secret",
    "parts.py: digest_of(peer_id) == link.foreign.digest": "of a peer's id, which is no secret",
    "directory.py: digest_of(peer_id) != link.foreign.digest": "of a peer's id, which is no secret",
    "environment.py: field in SECRET_FIELDS": "names of settings",
    "environment.py: _TOKEN in value.lower()": "how every token begins",
    "tls.py: error.reason in _ANOTHER_KEY": "what OpenSSL calls an error",
    "settings.py: field in environment.SECRET_FIELDS": "names of settings",
    "main_file.py: _digest_of(module) == digest": "of a source file, which tells whether two peers run the same one",
}


def words(node: ast.AST) -> Iterator[str]:
    """The names in an expression, underscores parted."""
    for part in ast.walk(node):
        name = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
        yield from name.split("_")


def comparisons(source: str, name: str) -> Iterator[str]:
    """The comparisons by value, in the source of a file, of something that may be a proof or a secret."""
    secretive = IN_A_PROVING_ROOM if name in PROVING_ROOMS else SECRETIVE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            by_value = any(isinstance(one, (ast.Eq, ast.NotEq, ast.In, ast.NotIn)) for one in node.ops)
            plain = any(isinstance(one, ast.Constant) and isinstance(one.value, (str, int)) for one in sides)
            if by_value and not plain and any(secretive.fullmatch(word) for one in sides for word in words(one)):
                yield f"{name}: {ast.unparse(node)}"


def test_no_proof_is_compared_by_value():
    """Attack 17. Names that sound like proofs or keys; what is public is listed with its reason, and still there."""
    found = {text for file in ROOT.rglob("*.py") for text in comparisons(file.read_text(), file.name)}
    assert found == set(PUBLIC)


@pytest.mark.parametrize(
    "line",
    [
        "tag == self._tag(b'')",
        "state.digest() != data[-16:]",
        "expected in known",
        "if proof != b: pass",
        "x = own.hmac == y",
    ],
)
def test_a_comparison_by_value_would_be_found(line):
    """Attack 17. The lint can fail."""
    assert list(comparisons(line, "frames.py"))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """All that goes through compare_digest in the rooms that verify."""
    ends.sessions(handshake.TAGGED)  # made before anybody counts
    pairs: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        pairs.append((one, other))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    for room in (frames, envelopes, signing):
        monkeypatch.setattr(room, "compare_digest", compare)
    return pairs


@pytest.mark.parametrize("suite", SUITES, ids=list(NAMES))
def test_every_proof_of_a_handshake_goes_through_compare_digest_good_or_bad(suite, compared):
    """Attack 17. As a whole: both sides of it have the length of a tag."""
    near, far = initiator(suites=suite), responder(suites=suite)
    m3 = near.receive(far.receive(near.begin()))
    with pytest.raises(AuthenticationError):
        far.receive(ends.flipped(m3, 0))
    m4 = responder_again(near, m3, suite)
    with pytest.raises(AuthenticationError):
        near.receive(ends.flipped(m4, 0))
    assert [(len(one), len(other)) for one, other in compared] == [(32, 32)] * 3


def responder_again(near: handshake.Initiator, m3: bytes, suite: int) -> bytes:
    """M4, from another machine in the same state."""
    far = responder(suites=suite)
    far.receive(near._m1)
    return far.receive(m3)


def test_every_proof_of_a_frame_an_event_and_a_record_goes_through_compare_digest(compared):
    """Attack 17. The proofs of suite 2 are the cipher's own business."""
    near, far = linked(handshake.TAGGED)
    prefix = frames.prefix(frames.REQUEST, b"tag")
    far.open_small(near.small(prefix, b"1"))
    far.opener(prefix)(near.small(prefix, b"2"))
    wire = near.small(prefix, b"3")
    far.open(wire[: frames.HEADER_SIZE], wire[frames.HEADER_SIZE :])
    with pytest.raises(RemoteProtocolError):
        far.open_small(bytes(40))
    sender = envelopes.Sender(ends.ALICE_ID, b"alice's process.", False, "")
    envelopes.Opener(RING).open(b"channel", envelopes.Packer(sender, RING).pack(b"channel", 0, []))
    signing.verify(signing.sign({}, "place", RING), "place", RING)
    assert [(len(one), len(other)) for one, other in compared] == [(16, 16)] * 6

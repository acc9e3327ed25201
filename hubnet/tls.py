"""The TLS contexts of links: both ends show a certificate of the net's own CA, and nothing older than TLS 1.3 is spoken.

The files are judged when a context is made, so that the peer that was given a wrong one says so as it starts, and not each
of its callers later. The standard library does all of it; what makes such files is ``certificates``. Importing ``ssl``
costs milliseconds, so whoever needs this room imports it when links are to be TLS, and not before.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from hubnet import runtime
from hubnet.errors import ConfigError

CERT, KEY, CA = "HUBNET_TLS_CERT", "HUBNET_TLS_KEY", "HUBNET_TLS_CA"

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, not named by Python
_UNSUITABLE_PURPOSE = 26
_ANOTHER_KEY = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
_WEAK = ("_TOO_SMALL", "_TOO_WEAK")
_MOST_STEPS = 10


def server_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """For links that others dial: a dialler without a certificate of the CA is refused; no session is resumed.

    Args:
        cert: the file with this peer's certificate, and those between it and the CA if there are any.
        key: the file with its private key.
        ca: the file with the CA's certificate; while one CA follows another, with both.

    Raises:
        ConfigError: a file is missing, unfit or expired; names the variable, the file and what is wrong.
    """
    _judge(cert, key, ca)
    return _listening(cert, key, ca)


def client_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """For links that we dial: the other end needs a certificate of the CA, for the name or address that was dialled.

    Raises:
        ConfigError: as for ``server_context``, whose arguments these are.
    """
    _judge(cert, key, ca)
    return _dialling(cert, key, ca)


def fingerprint(der: bytes) -> bytes:
    """What binds a handshake to the TLS session around it: SHA-256 of the certificate of the end that was dialled.

    That is ``tls-server-end-point`` of RFC 5929, always by SHA-256. Both ends know the certificate, a third one in
    between that ends both sessions has another.
    """
    return hashlib.sha256(der).digest()


def own_certificate(cert: str) -> bytes:
    """The first certificate of a file, in DER."""
    text = Path(cert).read_text(encoding="ascii", errors="replace")
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    return ssl.PEM_cert_to_DER_cert(begin + text.partition(begin)[2].partition(end)[0] + end + "\n")


def _listening(cert: str, key: str, ca: str) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, cert, key, ca)
    context.num_tickets = 0  # a resumed session would show no certificate
    return context


def _dialling(cert: str, key: str, ca: str) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, cert, key, ca)
    context.check_hostname = True
    context.hostname_checks_common_name = False
    return context


def _context(protocol: int, cert: str, key: str, ca: str) -> ssl.SSLContext:
    for variable, path in ((CERT, cert), (KEY, key), (CA, ca)):
        if not path:
            raise ConfigError(
                f"{variable} is not set: TLS needs {CERT}, {KEY} and {CA}; `hubnet tls init` makes the files"
            )
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    _load_certificates(ssl.SSLContext(protocol), CERT, cert)  # into nothing: so a wrong one is told from a wrong key
    _load_certificates(context, CA, ca)
    if not context.cert_store_stats()["x509_ca"]:
        raise ConfigError(f"{CA}: {ca} holds no CA's certificate; `hubnet tls init` calls that file ca.crt")
    _load_key(context, cert, key)
    return context


def _load_certificates(context: ssl.SSLContext, variable: str, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ConfigError(f"{variable}: {path} holds no certificate in PEM") from error
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error.strerror}") from error


def _load_key(context: ssl.SSLContext, cert: str, key: str) -> None:
    def no_passphrase() -> NoReturn:
        raise ConfigError(f"{KEY}: {key} is encrypted, and nobody is asked for a passphrase: store it without one")

    runtime.private_bytes(KEY, key)
    try:
        context.load_cert_chain(cert, key, password=no_passphrase)
    except ssl.SSLError as error:
        if error.reason in _ANOTHER_KEY:
            raise ConfigError(f"{KEY}: {key} is not the key of the certificate in {CERT}, {cert}") from error
        if error.reason and error.reason.endswith(_WEAK):
            raise ConfigError(f"{CERT}: {cert} cannot be used: {_reason(error)}") from error
        raise ConfigError(f"{KEY}: {key} holds no private key in PEM") from error


def _judge(cert: str, key: str, ca: str) -> None:
    """Let both ends of a link shake hands in memory: what they find wrong with these files, every other peer would."""
    own, authorities = _vouched(cert, key, ca, _NO_CHECK_TIME)  # told apart, since when
    _in_force(CERT, cert, own)
    _in_force(CA, ca, max(authorities, key=_end))
    _vouched(cert, key, ca, 0)  # the same in time: also what stands between the two


def _vouched(cert: str, key: str, ca: str, flags: int) -> tuple[Mapping[str, Any], list[Any]]:
    """Our certificate as the other end sees it, and the CAs."""
    listening, dialling = _listening(cert, key, ca), _dialling(cert, key, ca)
    dialling.check_hostname = False
    for context in (listening, dialling):
        context.verify_flags |= flags
    try:
        return _shake_hands(listening, dialling), listening.get_ca_certs()
    except ssl.SSLCertVerificationError as error:
        advice = ", and a peer's is for servers and clients" if error.verify_code == _UNSUITABLE_PURPOSE else ""
        raise ConfigError(
            f"{CERT}: {cert} does not pass with the CA of {CA}, {ca}: {error.verify_message}{advice}"
        ) from error
    except ssl.SSLError as error:
        raise ConfigError(f"{CERT}: {cert} cannot be used: {_reason(error)}") from error


def _shake_hands(listening: ssl.SSLContext, dialling: ssl.SSLContext) -> Mapping[str, Any]:
    """The certificate that both ends showed each other."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting = [dialling.wrap_bio(down, up), listening.wrap_bio(up, down, server_side=True)]
    dialler = waiting[0]
    for _ in range(_MOST_STEPS):
        if not waiting:
            break
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    return dialler.getpeercert() or {}


def _in_force(variable: str, path: str, said: Mapping[str, Any]) -> None:
    now = time.time()
    if _end(said) <= now:
        raise ConfigError(f"{variable}: {path} expired on {_moment(_end(said))}")
    begin = ssl.cert_time_to_seconds(said["notBefore"])
    if begin > now:
        raise ConfigError(f"{variable}: {path} is valid from {_moment(begin)} on; is the clock right?")


def _end(said: Mapping[str, Any]) -> float:
    return ssl.cert_time_to_seconds(said["notAfter"])


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"


def _reason(error: ssl.SSLError) -> str:
    return str(error.reason).replace("_", " ").lower()

"""Certificates for people without a certificate authority: a CA of their own, and a certificate for each host.

Only ``hubnet tls init`` comes here, on the machine of whoever keeps the CA; peers use the files alone (``tls``). The CA's key
never leaves its directory, and no file that is there is ever written over unless that was asked for. Needs the package
cryptography, which is imported with this module.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hubnet import runtime
from hubnet.errors import ConfigError

_AUTHORITY_DAYS = 3650
_SLACK = timedelta(hours=1)  # clocks of other hosts may be behind
_LONGEST_COMMON_NAME = 64
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # with '_', as services of compose have it
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_AUTHORITY = "ca"


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Files(NamedTuple):
    """A pair on disk."""

    certificate: Path
    key: Path
    names: tuple[str, ...]
    until: datetime


class Made(NamedTuple):
    """What is in the directory now."""

    authority: Files
    is_new: bool
    hosts: list[Files]


def init(
    directory: Path,
    hosts: Sequence[Sequence[str]],
    *,
    days: int,
    renew: bool = False,
    now: datetime | None = None,
) -> Made:
    """Make a certificate and key for each host, and the CA if there is none yet.

    Args:
        directory: where all of it is, and the CA stays; made if need be.
        hosts: for each the names from ``names_of``; the first one names its files.
        days: how long a host's certificate lasts, at most as long as the CA.
        renew: replace the files of hosts that have some; a new key as well.
        now: the time, if not the clock's.

    Raises:
        ConfigError: a host has files already, or comes twice; the CA is incomplete, expired or not private; it cannot be
            written there. No host has got anything then, unless the disk failed half-way.
    """
    now = now or datetime.now(timezone.utc)
    stems = _stems(hosts)
    _make_private(directory)
    if not renew:
        _refuse_existing(directory, stems)
    authority, is_new = _authority(directory, now)
    made = []
    for stem, names in zip(stems, hosts, strict=True):
        pair = host_pair(authority, names, days=days, now=now)
        _put(directory, stem, pair, replace=renew)
        made.append(_files(directory, stem, tuple(names), pair))
    return Made(_files(directory, _AUTHORITY, (), authority), is_new, made)


def names_of(word: str) -> tuple[str, ...]:
    """The names of one host, as typed: DNS names and IP addresses, joined by commas.

    Raises:
        ConfigError: one is neither.
    """
    return tuple(dict.fromkeys(_name(part.strip()) for part in word.split(",")))


def authority_pair(now: datetime) -> Pair:
    """A new CA, which signs certificates of hosts and no further CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = _identifier(key)
    name = _common_name(f"hubnet CA {identifier.digest.hex()[:8]}")  # no two alike: errors name the issuer
    builder = _builder(key.public_key(), name, name, now, now + timedelta(days=_AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Pair(builder.add_extension(identifier, critical=False).sign(key, SHA256()), key)


def host_pair(authority: Pair, names: Sequence[str], *, days: int, now: datetime) -> Pair:
    """A new certificate for one host, which dials and is dialled."""
    key = ec.generate_private_key(ec.SECP256R1())
    public, issuer = key.public_key(), authority.certificate
    end = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    builder = _builder(public, _common_name(names[0][:_LONGEST_COMMON_NAME]), issuer.subject, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    builder = builder.add_extension(_identifier(key), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return Pair(builder.add_extension(signer, critical=False).sign(authority.key, SHA256()), key)


# -- names -----------------------------------------------------------------------------------------------------------


def _name(part: str) -> str:
    address = _address(part)
    if address is not None:
        fits = not address.is_unspecified and getattr(address, "scope_id", None) is None
    else:
        fits = _NAME.fullmatch(part.lower()) is not None and not part.rpartition(".")[2].isdigit()
    if not fits:
        raise ConfigError(
            f"{part!r:.300} is no name of a host; allowed: a DNS name (render-07.farm.example) or an IP address (10.0.0.7, "
            "fd00::7), without port, brackets or '*', several of one host joined by commas"
        )
    return part.lower() if address is None else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _general(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _stems(hosts: Sequence[Sequence[str]]) -> list[str]:
    """What each host's files are called, without suffix."""
    stems: list[str] = []
    for names in hosts:
        stem = names[0].replace(":", "-")  # in a volume of compose ':' separates
        stem = f"0{stem}" if stem.startswith("-") else stem
        if stem == _AUTHORITY:
            raise ConfigError(
                f"{names[0]!r} cannot name a host's files: the CA's are called so; put another name first"
            )
        if stem in stems:
            raise ConfigError(f"{names[0]!r} comes twice; join the names of one host by commas")
        stems.append(stem)
    return stems


# -- what stands in a certificate ------------------------------------------------------------------------------------


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _identifier(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(now - _SLACK).not_valid_after(end)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


# -- the directory ---------------------------------------------------------------------------------------------------


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = directory.stat()
    except OSError as error:
        raise ConfigError(f"--directory: cannot make {directory}: {error.strerror}") from error
    if seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise ConfigError(
            f"--directory: {directory} is not yours alone, and keys go there: chmod 700 it, or name another"
        )


def _paths(directory: Path, stem: str) -> tuple[Path, Path]:
    return directory / f"{stem}.crt", directory / f"{stem}.key"


def _files(directory: Path, stem: str, names: tuple[str, ...], pair: Pair) -> Files:
    return Files(*_paths(directory, stem), names, pair.certificate.not_valid_after_utc)


def _refuse_existing(directory: Path, stems: Sequence[str]) -> None:
    there = [path for stem in stems for path in _paths(directory, stem) if os.path.lexists(path)]
    if there:
        raise ConfigError(f"{', '.join(map(str, there))} exist already: --renew replaces them; nothing was made")


def _authority(directory: Path, now: datetime) -> tuple[Pair, bool]:
    """The CA, and whether it was made just now."""
    paths = _paths(directory, _AUTHORITY)
    missing = [path for path in paths if not os.path.lexists(path)]
    if len(missing) == 1:
        (there,) = {*paths} - {*missing}
        raise ConfigError(
            f"{there} is there, but not {missing[0]}: put it back, or make another CA elsewhere (--directory)"
        )
    if not missing:
        return _kept_authority(*paths, now), False
    pair = authority_pair(now)
    _put(directory, _AUTHORITY, pair, replace=False)
    return pair, True


def _kept_authority(certificate: Path, key: Path, now: datetime) -> Pair:
    content = runtime.private_bytes("--directory", str(key))
    try:
        private = load_pem_private_key(content, password=None)
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        identifier = found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        signs = found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        if not signs or not isinstance(private, ec.EllipticCurvePrivateKey) or identifier != _identifier(private):
            raise ValueError("a host's, or another's key")
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):  # TypeError: encrypted
        raise ConfigError(
            f"{certificate} and {key} are no CA of `hubnet tls init`: move them away, or name another --directory"
        ) from None
    if found.not_valid_after_utc <= now:
        raise ConfigError(
            f"{certificate} expired on {found.not_valid_after_utc:%Y-%m-%d}: move it and {key} away, and make certificates for "
            "all hosts by a new CA"
        )
    return Pair(found, private)


def _put(directory: Path, stem: str, pair: Pair, *, replace: bool) -> None:
    """Put both files in place, each at once and never half written, the key first."""
    certificate, key = _paths(directory, stem)
    contents: Mapping[Path, tuple[bytes, int]] = {
        key: (pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600),
        certificate: (pair.certificate.public_bytes(Encoding.PEM), 0o644),
    }
    drafts: list[tuple[Path, Path]] = []
    try:
        for path, (content, mode) in contents.items():
            descriptor, draft = tempfile.mkstemp(dir=directory, prefix=".draft-")  # mode 0600
            drafts.append((Path(draft), path))
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
        for source, path in drafts:
            if replace:
                source.replace(path)
            else:
                path.hardlink_to(source)  # unlike a rename, never over a file that has come meanwhile
    except OSError as error:
        raise ConfigError(f"--directory: cannot write {certificate} and {key}: {error.strerror}") from error
    finally:
        for source, _ in drafts:
            source.unlink(missing_ok=True)

"""TLS between two sockets: who passes, who is refused and by which end, and what is said of a wrong file."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from hubnet import certificates, runtime, tls
from hubnet.certificates import Pair, names_of
from hubnet.errors import ConfigError
from tests.links.loopback import Running

NOW = datetime.now(timezone.utc)
YEARS_AGO = NOW - timedelta(days=3 * 365)
HERE = "127.0.0.1,::1,localhost"
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
PATIENCE = 60.0  # only a hang waits that long
DOORS = {"server": tls.server_context, "client": tls.client_context}


class Paths(NamedTuple):
    """What a peer is told."""

    cert: str
    key: str
    ca: str


class Farm:
    """A CA and hosts, made for one test: each by its names, its age and its flaws."""

    def __init__(self, place: Path, *, now: datetime = NOW) -> None:
        place.mkdir(mode=0o700)
        self.place = place
        self.ca = certificates.authority_pair(now)
        self.ca_file = self.write("ca.crt", pem(self.ca.certificate))

    def host(self, names: str = HERE, *, now: datetime = NOW, days: int = 825) -> Paths:
        """A host of this CA."""
        return self.paths(certificates.host_pair(self.ca, names_of(names), days=days, now=now))

    def paths(self, pair: Any, *between: x509.Certificate) -> Paths:
        """A certificate and its key as files, with those between it and the CA."""
        number = len(list(self.place.iterdir()))
        chain = b"".join(pem(one) for one in (pair.certificate, *between))
        key = self.write(f"{number}.key", key_pem(pair.key))
        return Paths(self.write(f"{number}.crt", chain), key, self.ca_file)

    def write(self, name: str, content: bytes) -> str:
        """A file that is this user's alone."""
        path = self.place / name
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A CA whose hosts are to trust each other."""
    return Farm(tmp_path / "farm")


@pytest.fixture
def stranger(tmp_path: Path) -> Farm:
    """Another CA."""
    return Farm(tmp_path / "stranger")


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: Any, passphrase: bytes = b"") -> bytes:
    cover = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cover)


def signed(
    signer: Pair,
    *,
    common_name: str = "localhost",
    names: str = HERE,
    key: Any = None,
    purposes: Any = BOTH,
    path: int | None = None,
) -> Any:
    """A certificate that the product would not make; with a path length it is a CA's."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(
        signer.certificate.subject, subject, key.public_key(), x509.random_serial_number()
    )
    builder = builder.not_valid_before(NOW - timedelta(hours=1)).not_valid_after(NOW + timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(ca=path is not None, path_length=path), critical=True)
    if path is None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        general = [certificates._general(name) for name in names_of(names)]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return Pair(builder.sign(signer.key, SHA256()), key)


def careless(protocol: int, paths: Paths | None) -> ssl.SSLContext:
    """An end that takes anybody, and shows whatever it has."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if paths:
        context.load_cert_chain(paths.cert, paths.key)
    return context


class Seen(NamedTuple):
    """What one end saw of the other, once each had read a byte of it."""

    version: str | None
    der: bytes | None
    names: set[str]
    ticket: bool
    reused: bool


def seen_by(end: ssl.SSLSocket) -> Seen:
    end.sendall(b"x")
    if end.recv(1) != b"x":
        raise EOFError("closed without a word")
    said = end.getpeercert() or {}
    names = {str(value) for _, value in said.get("subjectAltName", ())}
    ticket = end.session is not None and end.session.has_ticket
    return Seen(end.version(), end.getpeercert(binary_form=True), names, ticket, bool(end.session_reused))


def meet(
    listening: ssl.SSLContext, dialling: ssl.SSLContext, host: str = "127.0.0.1", *, dialled: str = ""
) -> tuple[Running, Running]:
    """Both ends of one link over TCP; each ends with what it saw, or what it raised."""
    waiting = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def serve() -> Seen:
        with waiting:
            waiting.settimeout(PATIENCE)
            raw, _ = waiting.accept()
            raw.settimeout(PATIENCE)
            with raw, listening.wrap_socket(raw, server_side=True) as end:
                return seen_by(end)

    def dial() -> Seen:
        raw = socket.create_connection((host, port), PATIENCE)
        with raw, dialling.wrap_socket(raw, server_hostname=dialled or host) as end:
            return seen_by(end)

    port = waiting.getsockname()[1]
    ends = Running(serve), Running(dial)
    for end in ends:
        end.thread.join(2 * PATIENCE)
    return ends


def ours(paths: Paths) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return tls.server_context(*paths), tls.client_context(*paths)


def refused(end: Running, text: str, kind: type[ssl.SSLError] = ssl.SSLCertVerificationError) -> None:
    """This end noticed by itself, and why."""
    error = end.error()
    assert isinstance(error, kind), error
    assert text in str(error)


def shut_out(end: Running) -> None:
    """This end was told by the other one, or just left, and read nothing."""
    error = end.error()
    assert isinstance(error, (OSError, EOFError)), error
    assert not isinstance(error, (ssl.SSLCertVerificationError, TimeoutError)), error


# -- who passes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "dialled"), [("127.0.0.1", ""), ("::1", ""), ("127.0.0.1", "localhost")])
def test_two_hosts_of_a_ca_meet_under_every_name_of_the_one_that_is_dialled(farm, host, dialled):
    if host == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6")
    listening, _ = ours(farm.host())
    _, dialling = ours(farm.host("render-07"))
    server, client = (end.result() for end in meet(listening, dialling, host, dialled=dialled))

    assert server.version == client.version == "TLSv1.3"
    assert server.names == {"render-07"}
    assert client.names == {"127.0.0.1", "0:0:0:0:0:0:0:1", "localhost"}


def test_the_certificate_that_binds_the_handshake_is_the_one_that_the_dialler_sees(farm):
    paths = farm.host()
    listening, dialling = ours(paths)
    _, client = meet(listening, dialling)
    own = ssl.PEM_cert_to_DER_cert(Path(paths.cert).read_text())

    assert tls.fingerprint(client.result().der) == tls.fingerprint(own)
    assert tls.fingerprint(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_no_session_is_handed_out_so_every_link_shows_its_certificates(farm):
    listening, dialling = ours(farm.host())
    _, client = meet(listening, dialling)
    careless_one = careless(ssl.PROTOCOL_TLS_SERVER, farm.host())
    _, witness = meet(careless_one, dialling)

    assert not client.result().ticket
    assert witness.result().ticket  # so it would have been seen


def test_strict_software_takes_our_certificates_as_well(farm):
    """As ``ssl.create_default_context`` of Python 3.13 makes it, so redis-py too."""
    paths = farm.host()
    strict = ssl.create_default_context(cafile=paths.ca)
    strict.load_cert_chain(paths.cert, paths.key)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    listening, _ = ours(paths)

    for end in meet(listening, strict):
        assert end.result().version == "TLSv1.3"


def test_while_one_ca_follows_another_hosts_of_both_meet(farm, stranger):
    both = farm.write("both.crt", pem(farm.ca.certificate) + pem(stranger.ca.certificate))
    old, new = farm.host()._replace(ca=both), stranger.host()._replace(ca=both)
    for one, other in ((old, new), (new, old)):
        for end in meet(tls.server_context(*one), tls.client_context(*other)):
            end.result()


def test_nobody_writes_down_the_keys_of_our_sessions(farm, monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    for context in ours(farm.host()):
        assert context.keylog_filename is None
    assert not (tmp_path / "keys.log").exists()


# -- who is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["10.9.9.9", "::2", "elsewhere.example"])
@pytest.mark.parametrize("dialled", ["127.0.0.1", "localhost"])
def test_the_dialler_refuses_a_host_of_another_name(farm, names, dialled):
    listening, _ = ours(farm.host(names))
    _, dialling = ours(farm.host())
    server, client = meet(listening, dialling, dialled=dialled)

    refused(client, "mismatch")
    shut_out(server)


def test_the_dialler_takes_no_common_name_for_a_name(farm):
    only_an_address = signed(farm.ca, common_name="localhost", names="10.9.9.9")
    listening, _ = ours(farm.paths(only_an_address))
    _, dialling = ours(farm.host())
    server, client = meet(listening, dialling, dialled="localhost")

    refused(client, "mismatch")
    shut_out(server)


def flawed(farm: Farm, stranger: Farm) -> dict[str, tuple[Paths, str]]:
    """What an end that takes anybody may show, and what the honest one says to it."""
    host = farm.host()
    signer = certificates.host_pair(farm.ca, names_of(HERE), days=9, now=NOW)
    between = signed(farm.ca, common_name="between", path=0)
    itself = certificates.authority_pair(NOW)
    for_code = signed(farm.ca, purposes=[ExtendedKeyUsageOID.CODE_SIGNING])
    return {
        "another CA": (stranger.host(), "unable to get local issuer certificate"),
        "expired": (farm.host(now=YEARS_AGO, days=30), "certificate has expired"),
        "not yet valid": (farm.host(now=NOW + timedelta(days=3)), "certificate is not yet valid"),
        "its own CA": (farm.paths(itself), "signed certificate"),
        "signed by a host": (farm.paths(signed(signer), signer.certificate), "invalid CA certificate"),
        "a CA in between": (farm.paths(signed(between), between.certificate), "path length constraint exceeded"),
        "another purpose": (farm.paths(for_code), "certificate purpose"),
        "an honest host": (host, ""),
    }  # fmt: skip


FLAWS = [
    "another CA",
    "expired",
    "not yet valid",
    "its own CA",
    "signed by a host",
    "a CA in between",
    "another purpose",
]


@pytest.mark.parametrize("flaw", [*FLAWS, "an honest host"])
def test_the_listener_refuses_a_dialler_whose_certificate_is_not_good(farm, stranger, flaw):
    paths, text = flawed(farm, stranger)[flaw]
    listening, _ = ours(farm.host())
    server, client = meet(listening, careless(ssl.PROTOCOL_TLS_CLIENT, paths))

    if not text:
        assert server.result().der
        return
    refused(server, text)
    shut_out(client)


@pytest.mark.parametrize("flaw", [*FLAWS, "an honest host"])
def test_the_dialler_refuses_a_listener_whose_certificate_is_not_good(farm, stranger, flaw):
    paths, text = flawed(farm, stranger)[flaw]
    _, dialling = ours(farm.host())
    server, client = meet(careless(ssl.PROTOCOL_TLS_SERVER, paths), dialling)

    if not text:
        assert client.result().der
        return
    refused(client, text)
    shut_out(server)


def test_the_listener_refuses_a_dialler_without_a_certificate(farm):
    listening, _ = ours(farm.host())
    server, client = meet(listening, careless(ssl.PROTOCOL_TLS_CLIENT, None))

    refused(server, "peer did not return a certificate", ssl.SSLError)
    shut_out(client)


@pytest.mark.parametrize("end", ["listener", "dialler"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_neither_end_speaks_anything_older_than_tls_1_3(farm, end):
    paths = farm.host()
    listening, dialling = ours(paths)
    if end == "listener":
        dialling = careless(ssl.PROTOCOL_TLS_CLIENT, paths)
        dialling.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        listening = careless(ssl.PROTOCOL_TLS_SERVER, paths)
        listening.maximum_version = ssl.TLSVersion.TLSv1_2
    for one in meet(listening, dialling):
        assert isinstance(one.error(), ssl.SSLError)
        assert "protocol" in str(one.error()).lower()


# -- what is said of a wrong file ------------------------------------------------------------------------------------


def replaced(variable: str, content: Callable[[Farm, Paths], bytes]) -> Callable[[Farm, Paths], Paths]:
    """The paths, one of them to a file with this content."""

    def make(farm: Farm, paths: Paths) -> Paths:
        return paths._replace(**{variable: farm.write(f"wrong-{variable}", content(farm, paths))})

    return make


def mode(path: Callable[[Paths], Path], bits: int) -> Callable[[Farm, Paths], Paths]:
    """The same paths, one of the files opened to others."""

    def make(_: Farm, paths: Paths) -> Paths:
        path(paths).chmod(bits)
        return paths

    return make


def broken(content: bytes) -> bytes:
    """PEM with its beginning and end, and something else between."""
    begin, *_, end = content.splitlines()
    return b"\n".join([begin, b"AAAA" * 16, end, b""])


WRONG: dict[str, tuple[Callable[[Farm, Paths], Paths], str]] = {
    "no certificate": (lambda _, paths: paths._replace(cert=""), "HUBNET_TLS_CERT is not set.*hubnet tls init"),
    "no key": (lambda _, paths: paths._replace(key=""), "HUBNET_TLS_KEY is not set.*hubnet tls init"),
    "no CA": (lambda _, paths: paths._replace(ca=""), "HUBNET_TLS_CA is not set.*hubnet tls init"),
    "certificate missing": (
        lambda _, paths: paths._replace(cert="/no.crt"), "HUBNET_TLS_CERT: cannot read /no.crt: No such file",
    ),
    "key missing": (lambda _, paths: paths._replace(key="/no.key"), "HUBNET_TLS_KEY: cannot read /no.key: .*No such file"),
    "CA missing": (lambda _, paths: paths._replace(ca="/no.crt"), "HUBNET_TLS_CA: cannot read /no.crt: No such file"),
    "certificate a folder": (lambda _, paths: paths._replace(cert="/"), "HUBNET_TLS_CERT: cannot read /: Is a directory"),
    "key a folder": (lambda _, paths: paths._replace(key="/"), "HUBNET_TLS_KEY: cannot read /: .*Is a directory"),
    "CA a folder": (lambda _, paths: paths._replace(ca="/"), "HUBNET_TLS_CA: cannot read /: Is a directory"),
    "certificate junk": (replaced("cert", lambda *_: b"junk"), "HUBNET_TLS_CERT: .*wrong-cert holds no certificate in PEM"),
    "certificate empty": (replaced("cert", lambda *_: b""), "HUBNET_TLS_CERT: .*wrong-cert holds no certificate in PEM"),
    "certificate broken": (
        replaced("cert", lambda _, paths: broken(Path(paths.cert).read_bytes())),
        "HUBNET_TLS_CERT: .*wrong-cert holds no certificate in PEM",
    ),
    "certificate as DER": (
        replaced("cert", lambda _, paths: ssl.PEM_cert_to_DER_cert(Path(paths.cert).read_text())),
        "HUBNET_TLS_CERT: .*wrong-cert holds no certificate in PEM",
    ),
    "key in the certificate's place": (
        lambda _, paths: paths._replace(cert=paths.key), "HUBNET_TLS_CERT: .*key holds no certificate in PEM",
    ),
    "certificate in the key's place": (
        lambda _, paths: paths._replace(key=paths.cert), "HUBNET_TLS_KEY: .*crt holds no private key in PEM",
    ),
    "key junk": (replaced("key", lambda *_: b"junk"), "HUBNET_TLS_KEY: .*wrong-key holds no private key in PEM"),
    "key broken": (
        replaced("key", lambda _, paths: broken(Path(paths.key).read_bytes())),
        "HUBNET_TLS_KEY: .*wrong-key holds no private key in PEM",
    ),
    "key under a passphrase": (
        replaced("key", lambda *_: key_pem(ec.generate_private_key(ec.SECP256R1()), b"sesame")),
        "HUBNET_TLS_KEY: .*wrong-key is encrypted",
    ),
    "another's key": (
        lambda farm, paths: paths._replace(key=farm.host().key), "HUBNET_TLS_KEY: .*key is not the key of .*HUBNET_TLS_CERT",
    ),
    "a key of another kind": (
        replaced("key", lambda *_: key_pem(rsa.generate_private_key(65537, 2048))),
        "HUBNET_TLS_KEY: .*wrong-key is not the key of .*HUBNET_TLS_CERT",
    ),
    "key for the group": (mode(lambda paths: Path(paths.key), 0o640), "HUBNET_TLS_KEY: others can read .*key: chmod 600"),
    "key for everybody": (mode(lambda paths: Path(paths.key), 0o604), "HUBNET_TLS_KEY: others can read .*key: chmod 600"),
    "folder of the key for everybody": (
        mode(lambda paths: Path(paths.key).parent, 0o777), "HUBNET_TLS_KEY: others can write the folder of .*key: chmod 700",
    ),
    "expired": (
        lambda farm, _: farm.host(now=YEARS_AGO, days=30),
        f"HUBNET_TLS_CERT: .*crt expired on {YEARS_AGO + timedelta(days=30):%Y-%m-%d %H:%M} UTC",
    ),
    "not yet valid": (
        lambda farm, _: farm.host(now=NOW + timedelta(days=3)),
        f"HUBNET_TLS_CERT: .*crt is valid from {NOW + timedelta(days=3, hours=-1):%Y-%m-%d %H:%M} UTC on; is the clock right",
    ),
    "of no CA": (
        replaced("ca", lambda *_: pem(certificates.authority_pair(NOW).certificate)),
        "HUBNET_TLS_CERT: .*crt does not pass with the CA of HUBNET_TLS_CA, .*wrong-ca: unable to get local issuer",
    ),
    "for servers alone": (
        lambda farm, _: farm.paths(signed(farm.ca, purposes=BOTH[:1])),
        "HUBNET_TLS_CERT: .*crt does not pass .*certificate purpose, and a peer's is for servers and clients",
    ),
    "for clients alone": (
        lambda farm, _: farm.paths(signed(farm.ca, purposes=BOTH[1:])),
        "HUBNET_TLS_CERT: .*crt does not pass .*certificate purpose, and a peer's is for servers and clients",
    ),
    "weak": (
        lambda farm, _: farm.paths(signed(farm.ca, key=rsa.generate_private_key(65537, 1024))),
        "HUBNET_TLS_CERT: .*crt cannot be used: ee key too small",
    ),
    "CA junk": (replaced("ca", lambda *_: b"junk"), "HUBNET_TLS_CA: .*wrong-ca holds no certificate in PEM"),
    "host's certificate for the CA's": (
        lambda farm, paths: paths._replace(ca=farm.host().cert), "HUBNET_TLS_CA: .*crt holds no CA's certificate.*ca.crt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_told_by_its_variable_and_path_and_what_is_wrong_with_it(farm, wrong, door):
    make, text = WRONG[wrong]
    paths = make(farm, farm.host())
    with pytest.raises(ConfigError, match=text) as caught:
        DOORS[door](*paths)
    assert "PRIVATE" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_told(farm):
    paths = farm.host()
    Path(paths.cert).chmod(0)
    was = os.geteuid()
    if was == 0:  # root reads everything
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match=r"HUBNET_TLS_CERT: cannot read .*crt: Permission denied"):
            tls.server_context(*paths)
    finally:
        os.seteuid(was)


@pytest.mark.parametrize("door", DOORS)
def test_an_expired_ca_is_told_and_since_when(tmp_path, door):
    made = YEARS_AGO - timedelta(days=3650)
    old = Farm(tmp_path / "old", now=made)
    host = signed(old.ca)  # lasts longer than its CA
    with pytest.raises(ConfigError, match=rf"HUBNET_TLS_CA: .*ca\.crt expired on {YEARS_AGO:%Y-%m-%d %H:%M} UTC"):
        DOORS[door](*old.paths(host))


@pytest.mark.parametrize("door", DOORS)
def test_a_host_of_the_expired_one_of_two_cas_is_told(farm, tmp_path, door):
    old = Farm(tmp_path / "old", now=YEARS_AGO - timedelta(days=3650))
    both = old.write("both.crt", pem(old.ca.certificate) + pem(farm.ca.certificate))
    paths = old.paths(signed(old.ca))._replace(ca=both)
    with pytest.raises(ConfigError, match=r"HUBNET_TLS_CERT: .*crt does not pass .*both\.crt: certificate has expired"):
        DOORS[door](*paths)


def test_a_key_mounted_by_the_engine_will_do_as_it_is(farm, monkeypatch):
    paths = farm.host()
    Path(paths.key).chmod(0o444)
    monkeypatch.setattr(runtime, "_DOCKER_SECRETS", Path(paths.key).parent)
    ours(paths)


def test_who_imports_hubnet_does_not_import_tls() -> None:
    code = "import sys, hubnet\nprint(*{'ssl', 'hubnet.tls', 'hubnet.certificates'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_using_certificates_does_without_the_package_that_makes_them(farm):
    paths = farm.host()
    code = (
        "import sys\nsys.modules['cryptography'] = None\nfrom hubnet import tls\n"
        f"tls.server_context(*{tuple(paths)!r})\ntls.client_context(*{tuple(paths)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

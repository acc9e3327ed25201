"""Making certificates: what stands in them, and what becomes of the files."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from hubnet import certificates
from hubnet.certificates import Made, names_of
from hubnet.errors import ConfigError

NOW = datetime.now(timezone.utc).replace(microsecond=0)
root_only = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a file away")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "hubnet-tls"


def init(place: Path, *words: str, days: int = 825, renew: bool = False, now: datetime = NOW) -> Made:
    return certificates.init(place, [names_of(word) for word in words], days=days, renew=renew, now=now)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("hub-1", ("hub-1",)),
        ("Hub-1.Farm.example", ("hub-1.farm.example",)),
        ("render_07", ("render_07",)),
        ("hub-1, 10.0.0.5 ,fd00:0::0005", ("hub-1", "10.0.0.5", "fd00::5")),
        ("hub-1,HUB-1", ("hub-1",)),
        ("7zip", ("7zip",)),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example",)),
        ("a" * 63, ("a" * 63,)),
    ],
)
def test_a_host_has_dns_names_and_ip_addresses(word, names):
    assert names_of(word) == names


@pytest.mark.parametrize(
    "word",
    [
        "", " ", "hub-1,", ",hub-1", "hub 1", "hub-1:3010", "10.0.0.5:3010", "[::1]", "*.farm.example", "farm.example.",
        ".farm", "a..b", "-hub", "hub-", "300.0.0.1", "10.0.0", "3010", "010.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "büro",
        "../hub", "hub/1", "hub\n1", "hub\0", "a" * 64, ".".join(["a" * 60] * 5), "http://hub-1", "\ud800",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_by_name(word):
    with pytest.raises(ConfigError) as caught:
        names_of(word)
    parts = [repr(part.strip())[:300] for part in word.split(",")]
    assert any(str(caught.value).startswith(f"{part} is no name") for part in parts)


def test_the_first_name_names_the_files_and_a_colon_is_none_of_them(place):
    init(place, "hub-1,10.0.0.5", "10.0.0.7,render-07", "fd00::7", "::1")
    assert sorted(contents(place)) == sorted(
        f"{stem}.{suffix}" for stem in ("ca", "hub-1", "10.0.0.7", "fd00--7", "0--1") for suffix in ("crt", "key")
    )


@pytest.mark.parametrize("words", [["ca"], ["CA,hub-1"], ["hub-1", "ca"]])
def test_no_host_takes_the_names_of_the_cas_files(place, words):
    with pytest.raises(ConfigError, match="'ca' cannot name"):
        init(place, *words)
    assert not place.exists()


def test_a_host_that_comes_twice_is_refused(place):
    with pytest.raises(ConfigError, match=r"'hub-1' comes twice.*commas"):
        init(place, "hub-1", "hub-1,10.0.0.5")
    assert not place.exists()


# -- what stands in a certificate ------------------------------------------------------------------------------------


def test_the_ca_lasts_ten_years_and_signs_hosts_and_nothing_else(place):
    made = init(place, "hub-1")
    ca = certificate(made.authority.certificate)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)

    assert made.authority.until == ca.not_valid_after_utc == NOW + timedelta(days=3650)
    assert ca.not_valid_before_utc == NOW - timedelta(hours=1)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert isinstance(ca.public_key().curve, ec.SECP256R1)
    ca.verify_directly_issued_by(ca)


def test_a_hosts_certificate_is_for_both_ends_of_a_link_and_signs_nothing(place):
    made = init(place, "hub-1,10.0.0.5,fd00::5,hub-1.farm.example")
    host, ca = certificate(made.hosts[0].certificate), certificate(made.authority.certificate)
    usage = host.extensions.get_extension_for_class(x509.KeyUsage)
    purposes = host.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    names = host.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert made.hosts[0].until == host.not_valid_after_utc == NOW + timedelta(days=825)
    assert host.not_valid_before_utc == NOW - timedelta(hours=1)
    assert not host.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (False, True)
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert names.get_values_for_type(x509.DNSName) == ["hub-1", "hub-1.farm.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "fd00::5"]
    assert isinstance(host.public_key().curve, ec.SECP256R1)
    host.verify_directly_issued_by(ca)


def test_no_two_certificates_share_a_number_or_a_key_and_no_two_cas_a_name(place, tmp_path):
    first, second = init(place, "hub-1", "hub-2"), init(tmp_path / "another", "hub-1")
    found = [certificate(files.certificate) for made in (first, second) for files in (made.authority, *made.hosts)]

    assert len({one.serial_number for one in found}) == len(found)
    assert len({one.public_key().public_numbers() for one in found}) == len(found)
    assert found[0].subject != certificate(second.authority.certificate).subject


def test_no_host_outlives_the_ca(place):
    init(place, "hub-1")
    made = init(place, "hub-2", "hub-3", days=1000, now=NOW + timedelta(days=3000))
    assert [host.until for host in made.hosts] == [made.authority.until] * 2


def test_a_host_lasts_as_many_days_as_wished(place):
    assert init(place, "hub-1", days=3).hosts[0].until == NOW + timedelta(days=3)


def test_a_name_too_long_for_the_subject_is_there_among_the_names(place):
    long = ".".join(["a" * 40] * 4)
    host = certificate(init(place, long).hosts[0].certificate)
    names = host.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [long]


# -- the files -------------------------------------------------------------------------------------------------------


def test_the_directory_and_the_keys_are_their_owners_alone_whatever_the_umask(place):
    before = os.umask(0)
    try:
        made = init(place, "hub-1")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}

    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "hub-1.crt": 0o644, "hub-1.key": 0o600}
    assert (made.hosts[0].certificate, made.hosts[0].key) == (place / "hub-1.crt", place / "hub-1.key")


def test_the_ca_is_made_once_and_kept(place):
    first = init(place, "hub-1")
    before = contents(place)
    second = init(place, "hub-2")
    after = contents(place)

    assert (first.is_new, second.is_new) == (True, False)
    assert {name: after[name] for name in before} == before
    certificate(place / "hub-2.crt").verify_directly_issued_by(certificate(place / "ca.crt"))


@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_a_hosts_files_are_never_written_over_and_then_no_other_host_gets_any(place, suffix):
    place.mkdir(mode=0o700)
    (place / f"hub-1.{suffix}").write_bytes(b"dear")
    with pytest.raises(ConfigError, match=rf"hub-1\.{suffix} exist.*--renew"):
        init(place, "hub-0", "hub-1")
    assert contents(place) == {f"hub-1.{suffix}": b"dear"}


def test_a_link_to_nowhere_counts_as_a_file(place):
    place.mkdir(mode=0o700)
    (place / "hub-1.key").symlink_to("/nowhere")
    with pytest.raises(ConfigError, match=r"hub-1\.key exist"):
        init(place, "hub-1")


@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_a_file_that_comes_meanwhile_is_not_written_over(place, suffix):
    init(place, "hub-1")
    authority = certificates.authority_pair(NOW)
    (place / f"hub-2.{suffix}").write_bytes(b"dear")
    with pytest.raises(ConfigError, match="hub-2"):
        certificates._put(place, "hub-2", authority, replace=False)

    assert (place / f"hub-2.{suffix}").read_bytes() == b"dear"
    assert not [name for name in contents(place) if name.startswith(".")]


def test_renewing_replaces_certificate_and_key_of_the_named_host_alone(place):
    init(place, "hub-1", "hub-2")
    before = contents(place)
    made = init(place, "hub-1,10.0.0.5", "hub-3", renew=True, now=NOW + timedelta(days=9))
    after = contents(place)

    assert {name for name in before if after[name] != before[name]} == {"hub-1.crt", "hub-1.key"}
    assert {*after} - {*before} == {"hub-3.crt", "hub-3.key"}
    assert made.hosts[0].until == NOW + timedelta(days=9 + 825)
    assert stat.S_IMODE((place / "hub-1.key").stat().st_mode) == 0o600


def test_renewing_writes_through_no_link(place, tmp_path):
    init(place, "hub-1")
    (tmp_path / "elsewhere").write_bytes(b"dear")
    (place / "hub-1.key").unlink()
    (place / "hub-1.key").symlink_to(tmp_path / "elsewhere")
    init(place, "hub-1", renew=True)

    assert (tmp_path / "elsewhere").read_bytes() == b"dear"
    assert not (place / "hub-1.key").is_symlink()


def test_a_disk_that_fails_leaves_no_half_written_file(place, monkeypatch):
    init(place, "hub-1")
    before = contents(place)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for renew in (False, True):
        with pytest.raises(ConfigError, match=r"hub-2\.crt.*No space left"):
            init(place, "hub-2", renew=renew)
    assert contents(place) == before


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o1777])
def test_a_directory_that_others_may_enter_is_refused(place, mode):
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(ConfigError, match=r"hubnet-tls is not yours alone.*chmod 700"):
        init(place, "hub-1")
    assert contents(place) == {}


@root_only
def test_a_directory_of_somebody_else_is_refused(place):
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)
    with pytest.raises(ConfigError, match="not yours alone"):
        init(place, "hub-1")


def test_where_no_directory_can_be_made_the_text_names_it(place):
    place.write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot make .*hubnet-tls"):
        init(place, "hub-1")
    with pytest.raises(ConfigError, match="cannot make /proc/nowhere"):
        init(Path("/proc/nowhere"), "hub-1")


# -- a CA that is there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "missing"), [("ca.crt", "ca.key"), ("ca.key", "ca.crt")])
def test_half_a_ca_is_not_completed(place, kept, missing):
    init(place, "hub-1")
    (place / missing).unlink()
    with pytest.raises(ConfigError, match=f"{kept} is there, but not .*{missing}"):
        init(place, "hub-2")
    assert not (place / missing).exists()
    assert not (place / "hub-2.key").exists()


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("source", ["junk", "another CA", "a host", "the other file"])
def test_what_is_no_ca_of_ours_is_refused(place, tmp_path, name, source):
    init(place, "hub-1")
    init(tmp_path / "another", "hub-1")
    suffix = name[2:]
    other = {".crt": ".key", ".key": ".crt"}[suffix]
    replacement = {
        "junk": b"junk",
        "another CA": (tmp_path / "another" / name).read_bytes(),
        "a host": (place / f"hub-1{suffix}").read_bytes(),
        "the other file": (place / f"ca{other}").read_bytes(),
    }
    (place / name).write_bytes(replacement[source])
    with pytest.raises(ConfigError, match=r"ca\.crt and .*ca\.key are no CA of"):
        init(place, "hub-2")
    assert not (place / "hub-2.key").exists()


def test_a_hosts_pair_in_the_cas_place_is_refused(place):
    init(place, "hub-1")
    for suffix in (".crt", ".key"):
        (place / f"hub-1{suffix}").replace(place / f"ca{suffix}")
    with pytest.raises(ConfigError, match="are no CA of"):
        init(place, "hub-2")


def test_a_cas_key_under_a_passphrase_is_refused(place):
    init(place, "hub-1")
    sealed = BestAvailableEncryption(b"a passphrase")
    key = certificates.authority_pair(NOW).key
    (place / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
    with pytest.raises(ConfigError, match="are no CA of"):
        init(place, "hub-2")


def test_a_cas_key_that_others_can_read_is_refused(place):
    init(place, "hub-1")
    (place / "ca.key").chmod(0o640)
    with pytest.raises(ConfigError, match=r"others can read .*ca\.key"):
        init(place, "hub-2")


def test_a_ca_that_has_expired_signs_no_more(place):
    init(place, "hub-1")
    with pytest.raises(ConfigError, match=rf"ca\.crt expired on {NOW + timedelta(days=3650):%Y-%m-%d}.*a new CA"):
        init(place, "hub-2", now=NOW + timedelta(days=3650))

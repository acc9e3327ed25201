"""``hubnet tls``."""

from __future__ import annotations

import re
import shlex
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography import x509

from hubnet import tls
from tests.conftest import Net


def settings_in(text: str) -> dict[str, dict[str, str]]:
    """The settings printed, by host."""
    found: dict[str, dict[str, str]] = {}
    for block in text.split("\n# ")[1:]:
        host, *lines = block.strip().splitlines()
        found[host] = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    return found


def days_of(path: Path) -> float:
    """How long a certificate lasts."""
    found = x509.load_pem_x509_certificate(path.read_bytes())
    return (found.not_valid_after_utc - found.not_valid_before_utc).total_seconds() / 86400


def test_it_says_what_was_made_and_what_to_set_on_each_host(net: Net) -> None:
    done = net.cli("tls", "init", "hub-1,10.0.0.5", "::1")

    assert (done.returncode, done.stderr) == (0, "")
    said = re.sub(r"\d{4}-\d\d-\d\d", "DATE", done.stdout).splitlines()
    assert said[:3] == [
        "made hubnet-tls/ca.crt and ca.key: the CA, until DATE",
        "made hubnet-tls/hub-1.crt and hub-1.key: for hub-1, 10.0.0.5, until DATE",
        "made hubnet-tls/0--1.crt and 0--1.key: for ::1, until DATE",
    ]
    assert "ca.key belongs on no peer" in done.stdout
    settings = settings_in(done.stdout)
    assert list(settings) == ["hub-1", "::1"]
    for said_of_host in settings.values():
        assert list(said_of_host) == ["HUBNET_WIRE", "HUBNET_TLS_CERT", "HUBNET_TLS_KEY", "HUBNET_TLS_CA"]
        assert said_of_host["HUBNET_WIRE"] == "tls"
        paths = [said_of_host[name] for name in (tls.CERT, tls.KEY, tls.CA)]
        assert all(isinstance(door(*paths), ssl.SSLContext) for door in (tls.server_context, tls.client_context))


def test_no_key_is_printed(net: Net) -> None:
    done = net.cli("tls", "init", "hub-1", HUBNET_DEV="1")

    for name in ("ca.key", "hub-1.key"):
        lines = (net.folder / "hubnet-tls" / name).read_text().splitlines()[1:-1]
        assert lines
        assert not [line for line in lines if line in done.stdout + done.stderr]


def test_hosts_are_added_later_by_the_same_ca(net: Net) -> None:
    net.cli("tls", "init", "hub-1")
    before = (net.folder / "hubnet-tls" / "ca.crt").read_bytes()
    done = net.cli("tls", "init", "hub-2")

    assert done.stdout.startswith("kept hubnet-tls/ca.crt and ca.key: the CA, until ")
    assert (net.folder / "hubnet-tls" / "ca.crt").read_bytes() == before


def test_a_host_that_has_files_is_refused_by_name_until_they_are_to_be_renewed(net: Net) -> None:
    net.cli("tls", "init", "hub-1")
    file = net.folder / "hubnet-tls" / "hub-1.key"
    before = file.read_bytes()
    refused = net.cli("tls", "init", "hub-2", "hub-1")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "hubnet: hubnet-tls/hub-1.crt, hubnet-tls/hub-1.key exist already: --renew replaces them; nothing was made\n"
    )
    assert file.read_bytes() == before
    assert not (net.folder / "hubnet-tls" / "hub-2.key").exists()

    assert net.cli("tls", "init", "hub-1", "--renew").returncode == 0
    assert file.read_bytes() != before


def test_a_bad_name_is_refused_at_once_by_name(net: Net) -> None:
    for name in ("hub 1", "hub-1:3010", "*.farm.example", "hub-1,10.0.0.300", "", "\x1b[31mred"):
        done = net.cli("tls", "init", "hub-0", name)

        assert (done.returncode, done.stdout) == (2, ""), name
        assert done.stderr.startswith("hubnet: ")
        assert f"{name.split(',')[-1]!r} is no name of a host" in done.stderr
        assert done.stderr.count("\n") == 1, name
        assert not (net.folder / "hubnet-tls").exists(), name


def test_days_and_directory_are_as_wished(net: Net) -> None:
    place = net.folder / "a place" / "of keys"
    done = net.cli("tls", "init", "hub-1", "--days", "30", "--directory", str(place))

    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert settings_in(done.stdout)["hub-1"]["HUBNET_TLS_KEY"] == str(place.resolve() / "hub-1.key")
    assert days_of(place / "hub-1.crt") == pytest.approx(30 + 1 / 24)


def test_a_host_lasts_825_days_unless_told_otherwise(net: Net) -> None:
    net.cli("tls", "init", "hub-1")

    assert days_of(net.folder / "hubnet-tls" / "hub-1.crt") == pytest.approx(825 + 1 / 24)


def test_wrong_usage_is_told_as_such(net: Net) -> None:
    for words in ([], ["hub-1", "--days", "0"], ["hub-1", "--days", "3651"], ["hub-1", "--days", "long"]):
        done = net.cli("tls", "init", *words)

        assert done.returncode == 2, words
        assert "Usage: hubnet tls init" in done.stderr, words
        assert not (net.folder / "hubnet-tls").exists(), words


def test_without_the_package_cryptography_one_line_says_what_to_install_and_help_is_there_all_the_same(
    net: Net,
) -> None:
    code = (
        "import sys\nsys.modules['cryptography'] = None\nfrom hubnet.cli import command\n"
        "sys.argv = ['hubnet', *sys.argv[1:]]\ncommand()"
    )
    ran = [
        subprocess.run(
            [sys.executable, "-c", code, "tls", *words],
            env=net.env,
            cwd=net.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        for words in (["init", "hub-1"], ["init", "--help"])
    ]

    assert (ran[0].returncode, ran[0].stdout) == (2, "")
    assert ran[0].stderr == "hubnet: `hubnet tls init` needs the package cryptography: pip install 'hubnet[crypto]'\n"
    assert (ran[1].returncode, ran[1].stderr) == (0, "")
    assert not (net.folder / "hubnet-tls").exists()

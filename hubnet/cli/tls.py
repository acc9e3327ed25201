"""``hubnet tls``: certificates for the hosts of a net, for people without a certificate authority."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubnet.errors import ConfigError

if TYPE_CHECKING:
    from hubnet.certificates import Files, Made

_DAYS = 825  # the most that some TLS software takes, whoever signed


@click.group()
def tls() -> None:
    """Make certificates for TLS between peers."""


@tls.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--directory", metavar="DIR", type=click.Path(path_type=Path), default="./hubnet-tls", show_default=True,
    help="Where they go, and where the CA stays.",
)  # fmt: skip
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=_DAYS,
    show_default=True,
    help="How long a host's certificate lasts.",
)
@click.option("--renew", is_flag=True, help="Replace the certificate and key of a host that has them.")
def init(names: tuple[str, ...], directory: Path, days: int, renew: bool) -> None:
    """Make a certificate and a key for each host, and the CA that signs them if there is none yet.

    NAME is a DNS name or an IP address; several of one host are joined by commas, and the first names its files:
    hub-1,hub-1.farm.example,10.0.0.5. A Redis server is a host like any other.
    """
    try:
        from hubnet import certificates
    except ImportError:
        raise ConfigError("`hubnet tls init` needs the package cryptography: pip install 'hubnet[crypto]'") from None
    hosts = [certificates.names_of(name) for name in names]
    _tell(certificates.init(directory, hosts, days=days, renew=renew))


def _tell(made: Made) -> None:
    begun = "made" if made.is_new else "kept"
    click.echo(f"{begun} {_pair(made.authority)}: the CA, until {made.authority.until:%Y-%m-%d}")
    for host in made.hosts:
        click.echo(f"made {_pair(host)}: for {', '.join(host.names)}, until {host.until:%Y-%m-%d}")
    click.echo(
        "\nca.key belongs on no peer: who holds it can pass for any of them. A host gets its own .crt and .key, and ca.crt;\n"
        "only the user that runs hubnet may read the key (chmod 600). Settings for each, with the paths of this machine:"
    )
    for host in made.hosts:
        click.echo(f"\n# {host.names[0]}\nHUBNET_WIRE=tls")
        for variable, path in (("CERT", host.certificate), ("KEY", host.key), ("CA", made.authority.certificate)):
            click.echo(f"HUBNET_TLS_{variable}={shlex.quote(str(path.resolve()))}")


def _pair(files: Files) -> str:
    return f"{files.certificate} and {files.key.name}"

"""``hubnet secret``: a new one, who accepts which, and the three steps of an exchange while everything runs.

A step changes one file of secrets; how it comes to the other machines is their owner's business, and every peer reads its own
again within seconds. A step that would shut somebody out is refused, and says whom.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click

import hubnet
from hubnet import environment, peer, runtime
from hubnet.cli.arguments import seconds
from hubnet.cli.roles import ask_only
from hubnet.cli.shown import as_json, shown
from hubnet.cli.table import print_table
from hubnet.core.connections import Connection, elsewhere
from hubnet.core.keys import Keyring, new_token
from hubnet.errors import ConfigError, HubnetError
from hubnet.rotation import STATE

_ANSWER_LIMIT = 10.0
_AT_ONCE = 16
_MOST = 4


class _Said(NamedTuple):
    """What a peer says of its secrets, or why it does not."""

    accepted: list[str]
    links: dict[str, int]
    trouble: str


@click.group()
def secret() -> None:
    """Make secrets, see who accepts which, and exchange them while everything runs."""


@secret.command()
def new() -> None:
    """Print a fresh secret, for HUBNET_SECRET or a file named by HUBNET_SECRET_FILE.

    Every peer of a net has the same one. Who holds it can run code on all of them.
    """
    click.echo(new_token(os.urandom(32)))


@secret.command()
@click.option("--timeout", type=seconds, default=_ANSWER_LIMIT, show_default=True, help="For each peer's answer.")
@click.option("--json", "in_json", is_flag=True, help='{"<peer id>": {"accepted": [...], "links": {...}}, ...}')
def status(timeout: float, in_json: bool) -> None:
    """Show which secrets the peers accept, which they use, and how many links stand under each, by key id.

    A key id says nothing of its secret.
    """
    said = _ask_everybody(timeout)
    if in_json:
        click.echo(as_json({where: one._asdict() for where, one in said.items()}, indent=2))
        return
    accepting = Counter(kid for one in said.values() for kid in one.accepted)
    using = Counter(one.accepted[0] for one in said.values() if one.accepted)
    links = Counter[str]()
    for one in said.values():
        links.update(one.links)
    rows = [(kid, count, using[kid], links[kid]) for kid, count in accepting.most_common()]
    print_table(("key id", "accepted by", "used by", "links"), rows)
    for where, one in said.items():
        if one.trouble:
            click.echo(shown(f"{where}: {one.trouble}"), err=True)


_STEP_OPTIONS = (
    click.option("--file", "path", type=click.Path(), help="The file to change; HUBNET_SECRET_FILE by default."),
    click.option("--timeout", type=seconds, default=_ANSWER_LIMIT, show_default=True, help="For each peer's answer."),
)


@secret.group()
def rotate() -> None:
    """Exchange the secret in three steps: add, use, drop. After each one, give the file to every machine.

    No call is lost on the way. A step that would shut a peer out is refused, and names it.
    """


@rotate.command()
@_STEP_OPTIONS[0]
def add(path: str | None) -> None:
    """Put a fresh secret behind those there: it is accepted from then on, and used by nobody."""
    file, secrets = _file(path)
    if len(secrets) >= _MOST:
        raise ConfigError(
            f"{file} has {len(secrets)} secrets already: finish that exchange with `hubnet secret rotate drop`"
        )
    fresh = new_token(os.urandom(32))
    _write(file, [*secrets, fresh])
    _next_step(f"{_kids([fresh])[0]} is accepted by whoever has this file", file, "use")


@rotate.command()
@_STEP_OPTIONS[0]
@_STEP_OPTIONS[1]
def use(path: str | None, timeout: float) -> None:
    """Use the second secret instead of the first; refused while a peer does not accept it."""
    file, secrets = _several(path)
    kids = _kids(secrets)
    _refuse_if(
        {where: "does not accept it" for where, one in _asked(timeout) if kids[1] not in one.accepted},
        f"{kids[1]} cannot be used yet",
    )
    _write(file, [secrets[1], secrets[0], *secrets[2:]])
    _next_step(f"{kids[1]} is used by whoever has this file", file, "drop")


@rotate.command()
@_STEP_OPTIONS[0]
@_STEP_OPTIONS[1]
def drop(path: str | None, timeout: float) -> None:
    """Take the last secret out; refused while a peer uses it or a link stands under it."""
    file, secrets = _several(path)
    kids = _kids(secrets)
    trouble: dict[str, str] = {}
    for where, one in _asked(timeout):
        if kids[0] not in one.accepted:
            trouble[where] = f"does not accept {kids[0]}"
        elif one.accepted[0] == kids[-1]:
            trouble[where] = "uses it"
        elif links := one.links.get(kids[-1]):
            trouble[where] = f"{links} links stand under it, until their calls end"
    _refuse_if(trouble, f"{kids[-1]} is in use")
    _write(file, secrets[:-1])
    click.echo(f"{kids[-1]} is accepted no more by whoever has this file; give {file} to every machine")


def _ask_everybody(timeout: float) -> dict[str, _Said]:
    """By peer, what each says; those that do not answer say so."""
    ask_only(timeout=timeout)
    listed = hubnet.peers()["peers"]
    question = Connection(STATE, elsewhere)

    def ask(item: tuple[bytes, dict[str, Any]]) -> tuple[str, _Said]:
        peer_id, record = item
        where = f"{record['host']}:{record['port']} ({record['group']})"
        try:
            told = peer.call(question, peer_id, (), {}, timeout)
            return where, _Said(told["accepted"], told["links"], "")
        except HubnetError as error:
            return where, _Said([], {}, f"does not say: {error.args[0]}")

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return dict(sorted(threads.map(ask, listed.items())))


def _asked(timeout: float) -> list[tuple[str, _Said]]:
    said = _ask_everybody(timeout)
    _refuse_if(
        {where: one.trouble for where, one in said.items() if one.trouble}, "not every peer says what it accepts"
    )
    return list(said.items())


def _refuse_if(trouble: dict[str, str], text: str) -> None:
    if trouble:
        raise HubnetError(f"{text}: " + "; ".join(f"{where} {why}" for where, why in trouble.items()))


def _kids(secrets: list[str]) -> list[str]:
    namespace = environment.so_far("namespace")
    return [Keyring.of([one], namespace).first.kid.hex() for one in secrets]


def _file(path: str | None) -> tuple[Path, list[str]]:
    if path:
        path = environment.made("hubnet secret rotate", secret_file=path).secret_file  # no secret itself, by mistake
    path = path or environment.so_far("secret_file")
    if not path:
        raise ConfigError("HUBNET_SECRET_FILE: not set, and no --file given: which file is to be changed?")
    return Path(path), runtime.secrets_in(path)


def _several(path: str | None) -> tuple[Path, list[str]]:
    file, secrets = _file(path)
    if len(secrets) < 2:
        raise ConfigError(f"{file} has one secret: begin with `hubnet secret rotate add`")
    return file, secrets


def _write(file: Path, secrets: list[str]) -> None:
    """In one step, with the remarks that stood there, for its owner alone."""
    remarks = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.lstrip().startswith("#")]
    runtime.replace_text(file, "\n".join([*remarks, *secrets, ""]))


def _next_step(done: str, file: Path, step: str) -> None:
    click.echo(f"{done}; give {file} to every machine, then: hubnet secret rotate {step}")

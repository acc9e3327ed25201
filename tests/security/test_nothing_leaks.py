"""Log scraping: secrets, passwords and argument values stay out of all that hubnet shows, logs, stores and tells others.

Every marked word is looked for in every spelling that it might have: as it is, in other letters, as bytes, hex and base64; of
the secret also the seed behind it and each key that follows from it. A key's id is no secret: it stands in every record.
"""

from __future__ import annotations

import base64
import json
import os
import pprint
import secrets
import signal
import subprocess
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from rich.pretty import pretty_repr

import hubnet
from hubnet import broker, environment, redis_url, rotation
from hubnet.cli.settings import config
from hubnet.core import frames, keys
from hubnet.core.connections import Connection
from hubnet.core.envelopes import Envelope, Sender
from hubnet.core.keys import TOKEN_PREFIX, new_token
from hubnet.environment import Settings
from hubnet.errors import ConfigError, HubnetError
from hubnet.links.calling import _Request
from hubnet.links.link import Frame
from hubnet.links.serving import _Job
from hubnet.peer import _Peer
from hubnet.testing import LocalNet
from tests.conftest import Net
from tests.core.ends import initiator, responder, shake
from tests.guarded import Guarded
from tests.security.listening import command_line, descendants
from tests.waiting import free_port


def spellings(*marked: str | bytes) -> dict[str, bytes]:
    """What to look for, by a name that may be shown."""
    found: dict[str, bytes] = {}
    for number, one in enumerate(marked):
        data = one if isinstance(one, bytes) else one.encode()
        for name, spelled in {
            "as it is": data, "hex": data.hex().encode(), "HEX": data.hex().upper().encode(),
            "base32": base64.b32encode(data).rstrip(b"="), "base32 small": base64.b32encode(data).rstrip(b"=").lower(),
            "base64": base64.b64encode(data).rstrip(b"="),
            "base64 for URLs": base64.urlsafe_b64encode(data).rstrip(b"="), "repr": repr(data)[2:-1].encode(),
            "small": data.lower(), "capitals": data.upper(), "for URLs": quote(data, safe="").encode(),
            "backwards": data[::-1], "json": json.dumps(one)[1:-1].encode() if isinstance(one, str) else data,
            "16 bits": data.decode("latin-1").encode("utf-16-le"), "base64 and more": base64.b64encode(b"x" + data)[4:-4],
        }.items():  # fmt: skip
            found[f"word {number}, {name}"] = spelled
    return found


def of_secret(secret: str) -> dict[str, bytes]:
    """A secret, its seed, and the keys that follow; not their id."""
    seed = keys.seed_of(secret, "default")
    derived = keys.derive(seed, "default")
    body = secret.removeprefix(TOKEN_PREFIX)
    return spellings(secret, body, seed, derived.link, derived.event, derived.record)


def leaked(where: str | bytes, looked_for: dict[str, bytes]) -> list[str]:
    """Which of them stand there; the words themselves are not repeated."""
    data = where if isinstance(where, bytes) else where.encode(errors="surrogateescape")
    return [name for name, spelled in looked_for.items() if spelled in data]


def test_a_leak_would_be_found():
    """Else the silence below would prove nothing."""
    secret = new_token(os.urandom(32))
    seed = keys.seed_of(secret, "default")
    for shown in (
        secret,
        secret[8:],
        secret.upper(),
        seed,
        seed.hex(),
        repr(seed),
        base64.b64encode(seed),
        keys.derive(seed, "default").link,
    ):
        assert leaked(b"so " + (shown if isinstance(shown, bytes) else shown.encode()) + b" it is", of_secret(secret))
    assert not leaked(keys.derive(seed, "default").kid.hex(), of_secret(secret))


# -- 35: representations and tracebacks ------------------------------------------------------------------------------

SHOWN = {
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "cut": "{!r:.9999}".format,
    "pprint": pprint.pformat,
    "rich": pretty_repr,
}
PASSWORD = "m4rked/" + secrets.token_hex(12)
URL = f"redis://worker:{quote(PASSWORD, safe='')}@127.0.0.1:6379/0"


def hubnets_own(*begin: object) -> Iterator[object]:
    """All objects of hubnet's types that hang together with these, whoever holds them."""
    import gc

    seen: set[int] = set()
    waiting = list(begin)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (ModuleType, type, str, bytes, int, float, type(None))):
            continue
        seen.add(id(one))
        if type(one).__module__.partition(".")[0] == "hubnet":
            yield one
        waiting += [held for held in gc.get_referents(one) if not isinstance(held, (ModuleType, type))]


@pytest.mark.parametrize(
    "secret", [new_token(os.urandom(32)), "m4rked passphrase " + secrets.token_hex(8)], ids=["token", "passphrase"]
)
def test_no_object_of_a_running_peer_shows_a_secret_a_password_or_a_key(secret):
    """Attack 35. Whatever hangs together with a hub and a worker that have called each other, shown in every way."""
    looked_for = of_secret(secret)
    settings = Settings(secret=secret, redis_url=URL, secret_file="/nowhere")
    ring = rotation.keyring(Settings(secret=secret), None)  # type: ignore[arg-type]
    near, far = initiator(ring=ring), responder(ring=ring)
    outcome = shake(near, far)
    assert outcome.both
    looked_for |= spellings(outcome.near.send_key, outcome.near.receive_key, PASSWORD)
    protections = [frames.Tagged(outcome.near.send_key, outcome.near.receive_key), frames.protection(outcome.near)]
    kinds = set()
    with LocalNet(secret=secret, namespace="default") as net:
        worker = net.peer(group="render")
        net.me.connect("hubnet.info")
        with net.me:
            assert hubnet.info(peer=worker.id)["group"] == "render"
        begin = settings, ring, near, far, *outcome, *protections, broker.Broker(Settings(redis_url=URL)), net
        for one in list(hubnets_own(*begin)):
            kinds.add(type(one).__name__)
            for name, show in SHOWN.items():
                assert not leaked(show(one), looked_for), (type(one), name)
    assert {
        "Settings",
        "NetKeys",
        "Keyring",
        "Parts",
        "_Peer",
        "Initiator",
        "Responder",
        "Session",
        "Link",
        "Tagged",
        "Broker",
    } <= kinds


def test_nothing_that_holds_arguments_for_a_moment_shows_them():
    """Attack 35. Crash reporters show what a frame's variables are."""
    marked = b"marked-argument"
    link = SimpleNamespace(kid=b"")
    connection = Connection("echo", print)
    frame = Frame(frames.REQUEST, b"echo", marked, [memoryview(marked)], 0, 0, 0)
    request = _Request(connection, b"10.0.0.1:3010 -> g", marked, [memoryview(marked)], 0, None)
    job = _Job(link, connection, frame, 0.0)  # type: ignore[arg-type]
    envelope = Envelope(Sender(b"10.0.0.1:3010 -> g", b"i" * 16, False, "machine"), 0, 1, marked, 0)
    url = "redis+sentinel://worker:marked-argument@s1/service?sentinel_password=marked-argument"
    for one in (frame, request, job, envelope, redis_url.guided(url), [frame], {"frame": frame}):
        assert "marked" not in repr(one), type(one)
        assert "marked" not in str(one), type(one)


AS_A_FILE = (
    "{}", "'{}'", '"{}"', " ' {} '", "file:{}", "FILE://{}", "'file:///{}'", "HUBNET_SECRET={}", "export HUBNET_SECRET='{}'",
    "/run/secrets/{}", "\ufeff{}", "{},{}",
)  # fmt: skip


@pytest.mark.parametrize("written", AS_A_FILE)
@pytest.mark.parametrize("variable", ["HUBNET_SECRET_FILE", "HUBNET_TLS_KEY", "HUBNET_REDIS_SERVER"])
def test_a_token_where_a_file_is_named_is_refused_and_not_shown(variable, written):
    """Attack 35. The two settings stand side by side, and their names are alike."""
    token = new_token(os.urandom(32))
    for spelled in (token, token.upper(), token[:-3]):
        with pytest.raises(ConfigError, match=f"{variable}.*hidden.*HUBNET_SECRET") as refused:
            environment.load({variable: written.replace("{}", spelled)}, {})
        assert spelled[8:-8] not in str(refused.value)


@pytest.mark.parametrize(
    "path", ["/run/hubnet1-farm/secret", "/etc/hubnet1-/of-this-machine", "hubnet1", "secrets/a'b"]
)
def test_a_file_that_is_called_much_like_a_token_is_a_file(path):
    assert environment.load({"HUBNET_SECRET_FILE": path}, {})[0].secret_file == path


@pytest.mark.parametrize(
    "url", ["redis+sentinel://s1:26379/service?sentinel_password={}", "rediss://h?ssl_password={}", "redis://u:{}@h",
            "redis+cluster://u:{}@h1,h2", "unix:///run/redis.sock?password={}", "redis://h?p%61ssword={}"],
)  # fmt: skip
def test_no_password_of_a_url_is_in_what_the_command_line_prints(url, monkeypatch):
    """Attack 35. As `hubnet config` has it, in both forms."""
    monkeypatch.setenv("HUBNET_REDIS_URL", url.format("marked-password"))
    for options in ([], ["--json"]):
        monkeypatch.setattr(environment, "_settings", None)  # frozen by the URL before
        said = CliRunner().invoke(config, options, catch_exceptions=False)
        assert said.exit_code == 0
        assert "***" in said.output
        assert "marked" not in said.output


def caught(peer: _Peer) -> HubnetError:
    """Why it does not start; this frame knows nothing."""
    try:
        peer.ready()
    except HubnetError as error:
        return error
    raise AssertionError("it started")


TOKEN = new_token(os.urandom(32))
WRONG = {
    "a mistyped token": TOKEN[:30] + ("7" if TOKEN[30] != "7" else "a") + TOKEN[31:],
    "a token cut short": TOKEN[:-3],
    "a short passphrase": "m4rk" + secrets.token_hex(3),
    "a passphrase of one letter too few": "m4rked-" + secrets.token_hex(4),
}


def everything_of(error: BaseException) -> str:
    """What a crash reporter sends: the whole chain, each frame with its variables."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True, compact=False)
    return f"{error!r} {error!s} {error.args!r} {error.__cause__!r} {error.__context__!r} {''.join(told.format())}"


@pytest.mark.parametrize("secret", WRONG.values(), ids=WRONG)
def test_a_secret_that_is_refused_is_in_no_part_of_the_error(secret, tmp_path, caplog):
    """Attack 35. A mistyped secret is nearly the true one. By setting, and by file."""
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(f"{secret}\n")
    tmp_path.chmod(0o700)
    for settings in (Settings(secret=secret, port=0), Settings(secret_file=str(file), port=0)):
        error = caught(_Peer(settings=settings))
        assert isinstance(error, ConfigError)
        assert not leaked(everything_of(error) + caplog.text, spellings(secret))


@pytest.mark.parametrize("mode", [0o644, 0o620])
def test_a_secret_in_a_file_that_is_refused_is_in_no_part_of_the_error(mode, tmp_path, caplog):
    """Attack 35."""
    file = tmp_path / "secret"
    file.write_text(TOKEN)
    file.chmod(mode)
    error = caught(_Peer(settings=Settings(secret_file=str(file), port=0)))
    assert "chmod 600" in str(error)
    assert not leaked(everything_of(error) + caplog.text, of_secret(TOKEN))


def test_a_secret_in_another_encoding_is_in_no_part_of_the_error(tmp_path, caplog):
    """Attack 35. As some editors and shells write a file."""
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_bytes(TOKEN.encode("utf-16"))
    tmp_path.chmod(0o700)
    error = caught(_Peer(settings=Settings(secret_file=str(file), port=0)))
    assert "HUBNET_SECRET_FILE" in str(error)
    assert TOKEN not in everything_of(error).replace("\\x00", "") + caplog.text


# -- 35: everything that a net says ----------------------------------------------------------------------------------

TASKS = """
import hubnet, os, threading
@hubnet.connect('echo')
def echo(value, **more): return value
@hubnet.connect('fails')
def fails(value): raise ValueError('it failed')
@hubnet.connect('unfit')
def unfit(value): return open(os.devnull)
@hubnet.connect('slow')
def slow(value): threading.Event().wait(300)
@hubnet.subscribe('done')
def done(*args, **kwargs): raise RuntimeError('a handler failed')
"""
SHELL = """
import os, sys, threading, traceback, hubnet
value = os.environ['MARKED']
class Unfit:
    def __init__(self): self.value = value
    def __repr__(self): return value
    def __reduce__(self): raise TypeError('I stay')
class Unborn:
    def __init__(self): self.value = value
    def __setstate__(self, state): raise TypeError('I am not born')
there = hubnet.wait_for(2, 'render')
first, second = sorted(there['peers'], key=lambda peer_id: there['peers'][peer_id]['pid'])
echo, fails, unfit, slow, none = (hubnet.connect(tag)(lambda value: None) for tag in ('echo', 'fails', 'unfit', 'slow', 'none'))
def attempt(name, act):
    try:
        act()
        print('went well:', name, flush=True)
    except Exception:
        print('went wrong:', name, flush=True)
        traceback.print_exc()
attempt('echo', lambda: echo(value, peer=first))
attempt('large', lambda: echo((value * 100_000).encode(), peer=first))
attempt('named', lambda: echo(value=value, other=value, peer=first))
attempt('fails', lambda: fails(value, peer=first))
attempt('too many', lambda: fails(value, value, value, peer=first))
attempt('unfit answer', lambda: unfit(value, peer=first))
attempt('unfit argument', lambda: echo(Unfit(), peer=first))
attempt('unfit in a list', lambda: echo([value, Unfit()], peer=first))
attempt('unborn', lambda: echo(Unborn(), peer=first))
attempt('no such tag', lambda: none(value, peer=first))
attempt('late', lambda: slow(value, peer=first, timeout=0.3))
attempt('nobody', lambda: echo(value, peer=('127.0.0.1', 1)))
attempt('event', lambda: hubnet.event('done')(lambda: ((value,), {'named': value}))())
attempt('large event', lambda: hubnet.event('done')(lambda: ((value * 1_000_000,), {}))())
attempt('unfit event', lambda: hubnet.event('done')(lambda: ((Unfit(),), {}))())
threading.Timer(0.1, lambda: print('is running', flush=True)).start()
attempt('killed', lambda: slow(value, peer=second))
print(hubnet.stats(), hubnet.stats(peer=first), hubnet.info(peer=first))
print(hubnet.peers(refresh=True), hubnet.peer_group('render'), hubnet.Peer(), hubnet.Peer().settings)
"""


class Overheard:
    """All that anybody publishes on a server, by channel, from now on."""

    def __init__(self, server: Guarded) -> None:
        self._pubsub = server.admin.pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("*")
        self.messages: list[tuple[bytes, bytes]] = []
        self._pubsub.get_message(timeout=5)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ending = False
        self._thread.start()

    def _run(self) -> None:
        while not self._ending:
            if message := self._pubsub.get_message(timeout=0.1):
                self.messages.append((message["channel"], message["data"]))

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self._pubsub.close()


class Glances:
    """The command lines of whatever this process starts, as `ps` would have shown them."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(0.05):
            self.seen |= {command_line(pid) for pid in descendants(os.getpid())[1:]}

    def close(self) -> None:
        self._ending.set()
        self._thread.join()


def stored(server: Guarded) -> bytes:
    """All keys and values, and what the server says of its clients and refusals."""
    admin = server.admin
    read = {
        b"hash": admin.hgetall, b"set": admin.smembers, b"string": admin.get, b"stream": admin.xrange,
        b"zset": lambda key: admin.zrange(key, 0, -1, withscores=True), b"list": lambda key: admin.lrange(key, 0, -1),
    }  # fmt: skip
    found = [(key, read[admin.type(key)](key)) for key in admin.scan_iter("*")]
    assert len(found) >= 5
    return b"\n".join([*_flat(found), repr((admin.acl_log(), admin.client_list())).encode()])


def _flat(one: Any) -> Iterator[bytes]:
    if isinstance(one, dict):
        one = one.items()
    if isinstance(one, (bytes, str, float, int)):
        yield one if isinstance(one, bytes) else str(one).encode()
        return
    for part in one:
        yield from _flat(part)


def with_password(server: Guarded, user: str) -> str:
    """The URL of a user who has the marked password from now on."""
    server.admin.execute_command("ACL", "SETUSER", user, "resetpass", f">{PASSWORD}")
    return f"redis://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0"


@pytest.mark.parametrize("kind", ["token", "passphrase"])
def test_nothing_that_a_net_says_shows_its_secret_its_password_or_its_arguments(
    net: Net, tmp_path: Path, kind: str
) -> None:
    """Attack 35, log scraping. A hub, two workers, a program and the command line, used well and badly, with debug logs.

    Secrets and passwords are looked for everywhere. An argument's value is the business of whoever typed it and of whoever is
    called: its own command line, the printed result, and the body of the event that carries it are not searched for it.
    """
    secret, other = (
        new_token(os.urandom(32)) if kind == "token" else f"m4rked {secrets.token_hex(10)} words" for _ in range(2)
    )
    short, value = "m4rk-" + secrets.token_hex(3), "v4lue-" + secrets.token_hex(12)
    never = of_secret(secret) | {f"other, {name}": spelled for name, spelled in of_secret(other).items()}
    never |= {
        f"password, {name}": spelled
        for name, spelled in spellings(PASSWORD, short, secret[:-2], quote(PASSWORD, safe="")).items()
    }
    values = spellings(value)
    (tmp_path / "redis").mkdir()
    server = Guarded(tmp_path / "redis")
    overheard, glances = Overheard(server), Glances()
    try:
        worker_url, hub_url = with_password(server, "worker"), with_password(server, "hub")
        net.env.update(HUBNET_SECRET=secret, HUBNET_REDIS_URL=worker_url, HUBNET_DEV="1", HUBNET_LEASE="1")
        hub = net.hub(HUBNET_REDIS_URL=hub_url)
        workers = [net.worker(TASKS, HUBNET_GROUP="render") for _ in range(2)]
        (net.folder / "shell.py").write_text(SHELL)
        listener = net.run("python", "-m", "hubnet", "listen", "done", "--count", "2", "--json").wait_for(
            "listening for"
        )
        shell = net.run("python", "shell.py", MARKED=value)
        shell.wait_for("is running")
        in_query = f"redis://127.0.0.1:{server.port}/0?username=worker&password={quote(PASSWORD, safe='')}"
        port = hub.out.split("127.0.0.1:")[1].split()[0].strip(",")
        done = commands(net, value, port, bad={
            "another secret": {"HUBNET_SECRET": other}, "a short secret": {"HUBNET_SECRET": short},
            "a cut secret": {"HUBNET_SECRET": secret[:-2]} if kind == "token" else {"HUBNET_SECRET": short},
            "another password": {"HUBNET_REDIS_URL": worker_url.replace("worker:", "hub:x")},
            "no such port": {"HUBNET_REDIS_URL": worker_url.replace(f":{server.port}", f":{free_port()}")},
            "no such option": {"HUBNET_REDIS_URL": f"{worker_url}?no_such=1"},
            "a port that is none": {"HUBNET_REDIS_URL": worker_url.replace(f":{server.port}", ":99999")},
            "no server for TLS": {"HUBNET_REDIS_URL": worker_url.replace("redis:", "rediss:")},
            "a password in the query": {"HUBNET_REDIS_URL": in_query},
        })  # fmt: skip
        stranger = net.run("python", "-m", "hubnet", "worker", "tasks", HUBNET_SECRET=other)
        stranger.wait_for("not registered")
        for pid in sorted(worker.pid for worker in workers)[1:]:
            os.kill(pid, signal.SIGKILL)
        assert shell.wait() == 0, shell.report()
        assert listener.wait() == 0, listener.report()
        contents = stored(server)
        assert hub.stop() == 0
    finally:
        glances.close()
        overheard.close()
        server.close()

    assert "went well: echo" in shell.out
    assert "went wrong: killed" in shell.out
    assert value in done["call echo"].stdout
    assert value in listener.out
    processes = {"hub": hub, "first": workers[0], "second": workers[1], "shell": shell, "stranger": stranger}
    searched: list[tuple[str, str | bytes]] = [
        ("Redis", contents),
        ("log", (tmp_path / "redis/server.log").read_bytes()),
    ]
    for name, one in {**processes, "listener": listener}.items():
        searched += [(f"stdout of {name}", one.out), (f"stderr of {name}", one.err)]
    for name, ended in done.items():
        searched += [(f"stdout of {name}", ended.stdout), (f"stderr of {name}", ended.stderr)]
    searched += [(f"command line {line!r}", line) for line in glances.seen]
    searched += [(f"published on {channel!r}", channel + b" " + data) for channel, data in overheard.messages]
    typed = tuple(f"command line {line!r}" for line in glances.seen if value.encode() in line)
    assert all(
        "'call'" in repr(line.split(b"\0")) or b"emit" in line for line in glances.seen if value.encode() in line
    )
    asked_for = ("stdout of call echo", "stdout of listener", "published on b'hubnet:default:event:render:done", *typed)
    asked_for += ("published on b'hubnet:default:event:None:done",)
    assert {where.partition(":event:")[1] for where, _ in searched if where.startswith("published")} == {"", ":event:"}
    for where, text in searched:
        assert leaked(text, never) == [], where
        if not where.startswith(asked_for):
            assert leaked(text, values) == [], where


TAKES_PART = {
    "config",
    "config as JSON",
    "peers",
    "call echo",
    "call fails",
    "emit",
    "another secret",
    "a short secret",
}
"""With a passphrase, which each process stretches: what has to do with it."""


def commands(
    net: Net, value: str, port: str, bad: dict[str, dict[str, str]]
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Most of what the command line can do, well and badly, at the same time."""
    wishes: dict[str, tuple[list[str], dict[str, str]]] = {
        "config": (["config"], {}), "config as JSON": (["config", "--json"], {}), "health": (["health", "--port", port], {}),
        "peers": (["peers", "--json"], {}),
        "call echo": (["call", "render", "echo", value], {}), "call fails": (["call", "render", "fails", f"value={value}"], {}),
        "call too much": (["call", "render", "fails", value, value], {}), "call unfit": (["call", "render", "unfit", value], {}),
        "call nobody": (["call", "127.0.0.1:1", "echo", value], {}),
        "call late": (["call", "render", "slow", value, "--timeout", "1"], {}),
        "emit": (["emit", "done", value, f"named={value}"], {}), "a module that fails": (["worker", "nothing"], {}),
        "config of a query": (["config", "--json"], bad["a password in the query"]),
        "config of a bad URL": (["config"], bad["a port that is none"]),
        **{name: (["peers"], {**env, "HUBNET_TIMEOUT": "2"}) for name, env in bad.items()},
    }  # fmt: skip
    if not net.env["HUBNET_SECRET"].startswith(TOKEN_PREFIX):
        wishes = {name: wishes[name] for name in TAKES_PART}
    with ThreadPoolExecutor(4) as four:
        running = {name: four.submit(net.cli, *words, timeout=120, **env) for name, (words, env) in wishes.items()}
        found = {name: one.result() for name, one in running.items()}
    well = {"config", "config as JSON", "peers", "health", "call echo", "emit", "config of a query"}
    for name, one in found.items():
        assert (one.returncode == 0) == (name in well) or name == "a password in the query", (name, one.stderr[-300:])
    return found

"""Where Redis is, and the embedded server: private, and dead when its owner is."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import pytest
import redis

from hubnet import machine, runtime
from hubnet.broker import Broker
from hubnet.embedded import EmbeddedServer, find_server
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable, ConfigError
from hubnet.redis_socket import TooMuch, answers, next_reply
from tests import requirements_
from tests.odd_servers import Stranger, on_unix_socket, silent
from tests.waiting import eventually

HIDDEN = "hidden-word-42"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory for this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return runtime.directory()


@pytest.fixture
def server(place: Path) -> Iterator[EmbeddedServer]:
    one = EmbeddedServer(requirements_.server_binary())
    yield one
    one.close()


def command_lines() -> dict[int, bytes]:
    """What `ps` sees of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes()
        except OSError:
            continue  # it has ended
    return found


def servers_below(place: Path) -> set[int]:
    """Server processes whose files are in this runtime directory, without their shells."""
    folder = f"{place}/server-".encode()
    return {pid for pid, line in command_lines().items() if folder in line and not line.startswith(b"/bin/sh")} | {
        pid for pid in command_lines() if _works_in(pid, f"{place}/server-")
    }


def _works_in(pid: int, folder: str) -> bool:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink()).startswith(folder)
    except OSError:
        return False


# -- the embedded server ---------------------------------------------------------------------------------------------


def test_it_takes_its_password_and_nothing_without_it(server):
    assert answers(server.url)
    where = urlsplit(server.url)
    assert len(where.password) >= 32
    with redis.Redis(port=where.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert not answers(f"redis://:wrong@127.0.0.1:{where.port}/0")


def test_it_listens_on_loopback_alone(server):
    with redis.Redis.from_url(server.url) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"
        assert client.config_get("protected-mode")["protected-mode"] == "yes"


def test_it_keeps_nothing_on_disk(server):
    with redis.Redis.from_url(server.url) as client:
        assert client.config_get("save")["save"] == ""
        assert client.config_get("appendonly")["appendonly"] == "no"


def test_its_files_are_this_users_alone(server, place):
    (folder,) = place.glob("server-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["server.conf"] == 0o600
    assert not any(mode & 0o077 for mode in modes.values())


def test_its_password_is_in_no_command_line_nor_environment(server, place):
    password = urlsplit(server.url).password.encode()
    assert not any(password in line for line in command_lines().values())
    for pid in servers_below(place):
        assert password not in Path(f"/proc/{pid}/environ").read_bytes()


def test_two_servers_have_two_ports_and_passwords(server):
    other = EmbeddedServer(requirements_.server_binary())
    try:
        assert urlsplit(server.url).port != urlsplit(other.url).port
        assert urlsplit(server.url).password != urlsplit(other.url).password
    finally:
        other.close()


def test_closing_ends_it_and_removes_its_files(place):
    one = EmbeddedServer(requirements_.server_binary())
    one.close()
    assert not answers(one.url)
    assert not servers_below(place)
    assert not list(place.glob("server-*"))
    one.close()


def test_a_signal_to_our_terminal_does_not_reach_it(server, place):
    (pid,) = servers_below(place)
    assert os.getsid(pid) != os.getsid(0)


def test_a_server_that_does_not_start_is_told_at_once(place):
    with pytest.raises(BrokerUnavailable, match="did not start"):
        EmbeddedServer("/bin/false")
    assert not list(place.glob("server-*"))


def test_a_runtime_directory_with_blanks_will_do(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    one = EmbeddedServer(requirements_.server_binary())
    one.close()


# -- its end ---------------------------------------------------------------------------------------------------------

OWNER = """
import os, subprocess, sys, tempfile, threading, time
tempfile.tempdir = sys.argv[1]
from hubnet.embedded import EmbeddedServer
def start():
    global server
    server = EmbeddedServer(sys.argv[2])
{start}
child = 0
{more}
print(server.url, child, flush=True)
sys.stdin.read()
"""
START = "start()"
IN_A_THREAD = "thread = threading.Thread(target=start); thread.start(); thread.join()"
FORK = """
child = os.fork()
if child == 0:
    while True:
        time.sleep(60)
"""
SUBPROCESS = "child = subprocess.Popen(['sleep', '60']).pid"
KEEPS_ALL = "child = subprocess.Popen(['sleep', '60'], close_fds=False).pid"


def owner_of_a_server(place: Path, start: str, more: str) -> tuple[subprocess.Popen[str], str, int]:
    code = OWNER.format(start=start, more=more)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(place.parent), requirements_.server_binary()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    url, child = process.stdout.readline().split()
    return process, url, int(child)


@pytest.mark.parametrize("start", [START, IN_A_THREAD], ids=["", "started by a thread that ended"])
@pytest.mark.parametrize(
    "more",
    ["", FORK, SUBPROCESS, KEEPS_ALL],
    ids=["alone", "forked child", "subprocess", "subprocess that keeps files"],
)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=["killed", "terminated", "exits"])
def test_it_dies_with_its_owner_whoever_else_lives_on(place, start, more, end):
    process, url, child = owner_of_a_server(place, start, more)
    try:
        assert answers(url)
        assert servers_below(place)
        if end is None:
            process.stdin.close()
        else:
            process.send_signal(end)
        process.wait(20)
        if child:
            os.kill(child, 0)  # lives on
        eventually(lambda: not answers(url) and not servers_below(place))
        eventually(lambda: not list(place.glob("server-*")))
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        process.stdin.close()
        process.stdout.close()


def test_a_forked_child_that_ends_does_not_take_it_along(server):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()


def in_a_forked_child(check: Callable[[], bool]) -> bool:
    """Whether it is true over there."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if check() else 1)
        except BaseException:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_letting_go_in_a_forked_child_closes_no_file_of_its_own_later(place):
    one = EmbeddedServer(requirements_.server_binary())

    def check() -> bool:
        mine = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
        one._process.stdin = None  # what the end of the child's interpreter does
        return all(os.fstat(fd) for fd in mine)

    try:
        assert in_a_forked_child(check)
    finally:
        one.close()


# -- finding it ------------------------------------------------------------------------------------------------------


def broker(hub: bool = True, **more: object) -> Broker:
    return Broker(Settings(is_hub=hub, redis_server=requirements_.server_binary(), **more))


def test_the_first_hub_runs_it_and_others_find_it(place):
    first, second, worker = broker(), broker(), broker(hub=False)
    try:
        url = first.url()
        assert first.url() == second.url() == worker.url() == url
        assert len(servers_below(place)) == 1
        assert stat.S_IMODE((place / "broker.json").stat().st_mode) == 0o600
    finally:
        for one in (worker, second, first):
            one.close()
    assert not servers_below(place)


def test_an_address_that_somebody_cleared_away_is_written_again_and_no_second_server_started(place):
    hub = broker()
    try:
        url = hub.url()
        (place / "broker.json").unlink()
        assert hub.url() == broker(hub=False).url() == url
        assert len(servers_below(place)) == 1
    finally:
        hub.close()


def test_a_worker_without_a_hub_is_told_what_to_start(place):
    with pytest.raises(BrokerUnavailable, match="hubnet hub"):
        Broker(Settings()).url()


def test_an_address_where_nobody_takes_the_password_is_not_believed(server, place):
    for port in (1, urlsplit(server.url).port):  # nobody, and somebody else's server
        runtime.write("broker.json", {"url": f"redis://:wrong@127.0.0.1:{port}/0"})
        with pytest.raises(BrokerUnavailable):
            Broker(Settings()).url()
    one = broker()
    try:
        assert answers(one.url())
    finally:
        one.close()


SAYS_OK = """
import os, socket, sys
os.setuid(65534)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("there", flush=True)
while True:
    link, _ = listening.accept()
    heard = link.recv(1000)
    if heard:
        print(heard, flush=True)
    link.sendall(b"+OK\\r\\n+PONG\\r\\n")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to be another user")
def test_a_port_that_another_user_has_taken_is_no_server_of_ours_and_hears_no_password(place):
    """Its owner has ended, and left its address; whoever is first has its port."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    command = [sys.executable, "-c", SAYS_OK, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
        try:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == "there\n"
            url = f"redis://:marked-password@127.0.0.1:{port}/0"
            assert machine.owner_of(port) == 65534
            assert answers(url)  # it says yes to whatever it hears
            assert "marked-password" in stranger.stdout.readline()
            runtime.write("broker.json", {"url": url})
            with pytest.raises(BrokerUnavailable, match="no hub runs on this machine yet"):
                Broker(Settings()).url()
            one = broker()
            assert one.url() != url  # it runs one of its own
            one.close()
        finally:
            stranger.kill()
        assert "marked" not in stranger.stdout.read()


def test_who_listens_on_a_port_is_known(server):
    assert machine.owner_of(urlsplit(server.url).port) == os.getuid()
    assert machine.owner_of(1) is None


def test_a_stranger_of_another_protocol_on_the_remembered_port_is_no_server(place):
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def greet() -> None:
            link, _ = stranger.accept()
            with link:
                link.sendall(b"220 mail.example ESMTP\r\n")
                link.recv(1000)

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            assert not answers(f"redis://:x@127.0.0.1:{stranger.getsockname()[1]}/0")
        finally:
            thread.join()


def test_a_hub_that_leaves_starts_no_server_for_its_goodbye(place):
    broker = Broker(Settings(is_hub=True))
    broker.retire()
    with pytest.raises(BrokerUnavailable):
        broker.url()
    assert servers_below(place) == set()


def test_a_server_that_died_is_started_anew_and_found_again(place):
    hub, worker = broker(), broker(hub=False)
    try:
        first = worker_url = hub.url()
        assert worker.url() == worker_url
        for pid in servers_below(place):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not answers(first))
        with pytest.raises(BrokerUnavailable):
            worker.url()
        again = eventually(hub.url, not_yet=BrokerUnavailable)  # until its shell has seen it die
        assert answers(again)
        assert worker.url() == again
        assert len(list(place.glob("server-*"))) == 1
    finally:
        hub.close()


RACER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from hubnet.broker import Broker
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable
broker = Broker(Settings(is_hub=True, redis_server=sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + 20
while True:
    try:
        url = broker.url()
        break
    except BrokerUnavailable:
        assert time.monotonic() < end
        time.sleep(0.001)
print(url, flush=True)
sys.stdin.readline()
print(broker.url(), flush=True)
sys.stdin.read()
"""


class Racer:
    """A hub process that wants a broker when told."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RACER, str(place.parent), requirements_.server_binary()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid

    def hear(self) -> str:
        return self._process.stdout.readline().strip()

    def go(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)
        self._process.stdin.close()
        self._process.stdout.close()


def test_hubs_that_start_at_once_share_exactly_one_server_and_another_takes_over(place):
    racers = [Racer(place) for _ in range(4)]
    try:
        assert [racer.hear() for racer in racers] == ["ready"] * 4
        for racer in racers:
            racer.go()
        urls = {racer.hear() for racer in racers}
        assert len(urls) == 1
        assert len(servers_below(place)) == 1
        (url,) = urls
        owner = next(racer for racer in racers if racer.pid == json.loads((place / "broker.json").read_text())["pid"])
        owner.kill()
        eventually(lambda: not answers(url))
        (heir, *_) = (racer for racer in racers if racer is not owner)
        heir.go()
        again = heir.hear()
        assert again != url
        assert answers(again)
        eventually(lambda: len(servers_below(place)) == 1)
    finally:
        for racer in racers:
            racer.kill()
    eventually(lambda: not servers_below(place))


# -- connections and words -------------------------------------------------------------------------------------------


def test_an_opened_socket_is_authenticated_and_speaks_resp2(server):
    sock, owner = Broker(Settings(redis_url=server.url)).open()
    sock.sendall(b"*1\r\n$4\r\nPING\r\n*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$4\r\nsave\r\n")
    assert sock.gettimeout() is None
    sock.settimeout(10)
    got, expected = b"", b"+PONG\r\n*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
    while len(got) < len(expected):
        got += sock.recv(100)
    assert got == expected
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    owner.disconnect()


@pytest.mark.parametrize("url", [f"redis://:{HIDDEN}@127.0.0.1:1/0", f"redis://u:{HIDDEN}@127.0.0.1:1"])
def test_out_of_reach_is_told_with_the_variable_and_without_the_password(url):
    with pytest.raises(BrokerUnavailable, match="HUBNET_REDIS_URL") as caught:
        Broker(Settings(redis_url=url)).open()
    assert HIDDEN not in str(caught.value)


def test_a_wrong_password_is_told_without_it(server):
    url = f"redis://:{HIDDEN}@127.0.0.1:{urlsplit(server.url).port}/0"
    with pytest.raises(BrokerUnavailable) as caught:
        Broker(Settings(redis_url=url)).open()
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        (f"redis://:{HIDDEN}@h", "redis://***@h"),
        (f"rediss://u:{HIDDEN}@h:1/0", "rediss://***@h:1/0"),
        ("", "the embedded server"),
        pytest.param(f"redis://:a@{HIDDEN}@h", "redis://***@h"),
        pytest.param(f"redis://:a/{HIDDEN}@h", "redis://***@h"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password(url, shown):
    assert Broker(Settings(redis_url=url)).shown == shown


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("", True), ("redis://127.0.0.1:1", True), ("redis://localhost", True), ("redis://[::1]:1", True),
        ("unix:///run/redis.sock", True), ("redis://10.0.0.1", False), ("redis://redis", False),
        pytest.param("redis://localhost.farm.example", False),
        pytest.param("redis://127.farm.example", False),
        pytest.param("redis://[::1234:5]", False),
    ],
)  # fmt: skip
def test_peers_stay_on_loopback_beside_a_local_redis_only(url, local):
    assert Broker(Settings(redis_url=url)).local is local


def test_no_route_is_told_with_the_variable():
    with pytest.raises(BrokerUnavailable, match="HUBNET_REDIS_URL"):
        Broker(Settings(redis_url="redis://no-such-host.invalid")).route()


# -- what HUBNET_REDIS_URL may say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", HIDDEN], ids=["no password", "password"])
def test_a_server_on_a_unix_socket_answers_whoever_asks(tmp_path_factory, password):
    with on_unix_socket(tmp_path_factory.mktemp("s"), password) as url:
        broker = Broker(Settings(redis_url=url))
        assert broker.ask(b"PING") == b"PONG"
        with broker.client() as client:  # the register's
            assert client.ping()


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        (f"redis://:{HIDDEN}@127.0.0.1:1/0?socket_timeout=abc", "socket_timeout"),
        (f"redis://:{HIDDEN}@127.0.0.1:1/0?bogus=1", "bogus"),
        (f"rediss://:{HIDDEN}@127.0.0.1:1/0?ssl_cert_reqs=bogus", "bogus"),
        (f"unix:///run/redis.sock?password={HIDDEN}&bogus=1", "bogus"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_told_at_once_and_without_the_password(url, wrong):
    with pytest.raises(ConfigError, match="HUBNET_REDIS_URL") as caught:
        Broker(Settings(redis_url=url))
    assert wrong in str(caught.value)
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("redis://h", False), ("redis://h/", False), ("redis://h/0", False), ("unix:///run/redis.sock", False),
        ("redis://h/1", True), ("rediss://h/15", True),
        ("redis://h?db=1", True),
        ("unix:///run/redis.sock?db=1", True),
    ],
)  # fmt: skip
def test_a_database_number_is_warned_about(url, warned, caplog):
    Broker(Settings(redis_url=url))
    assert ["HUBNET_REDIS_URL" in text and "HUBNET_NAMESPACE" in text for text in caplog.messages] == [True] * warned


# -- a Redis that hangs ----------------------------------------------------------------------------------------------


def asked_in_half_a_second(url):
    """What it raises, and the seconds that it took."""
    broker = Broker(Settings(redis_url=url))
    begin = time.monotonic()
    with pytest.raises(BrokerUnavailable) as caught:
        broker.ask(b"PING", deadline=begin + 0.5)
    return str(caught.value), time.monotonic() - begin


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:{port}/0",
        f"redis://:{HIDDEN}@127.0.0.1:{{port}}/0",
        "redis://localhost:{port}/0",
        "redis://127.0.0.1:{port}/1",
        pytest.param("redis://127.0.0.1:{port}/0?client_name=x", id="by redis-py"),
        pytest.param("rediss://127.0.0.1:{port}/0", id="TLS"),
    ],
)
def test_a_server_that_says_nothing_is_asked_until_the_deadline_and_no_longer(url):
    with silent() as port:
        text, took = asked_in_half_a_second(url.format(port=port))
    assert "out of reach" in text
    assert HIDDEN not in text
    assert took < 3  # without a deadline it is 3 s to connect and 5 s to answer


@pytest.mark.parametrize("user", ["", f":{HIDDEN}@"], ids=["", "password"])
def test_a_server_that_answers_letter_by_letter_is_heard_until_the_deadline_and_no_longer(user):
    with Stranger(b"+" + b"x" * 200, letters_every=0.05) as dripping:
        text, took = asked_in_half_a_second(f"redis://{user}127.0.0.1:{dripping.port}/0")
    assert "out of reach" in text
    assert took < 3


def test_a_name_whose_lookup_hangs_is_waited_for_until_the_deadline_and_no_longer(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    try:
        text, took = asked_in_half_a_second("redis://far.example:6379/0")
    finally:
        over.set()
    assert "far.example" in text
    assert took < 3


def test_of_several_addresses_of_a_name_the_first_that_answers_is_taken(server, monkeypatch):
    port = urlsplit(server.url).port
    tcp = socket.AF_INET, socket.SOCK_STREAM, 6, ""
    found = [(*tcp, ("127.0.0.2", 1)), (*tcp, ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert Broker(Settings(redis_url=server.url.replace("127.0.0.1", "several.example"))).ask(b"PING") == b"PONG"


def test_the_wished_program_is_taken_or_refused_by_name(monkeypatch):
    assert find_server("/bin/sh") == "/bin/sh"
    with pytest.raises(ConfigError, match=r"HUBNET_REDIS_SERVER.*no-such-program"):
        find_server("no-such-program")


def test_where_no_server_is_installed_the_text_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("hubnet.embedded._WHEELS", {})
    with pytest.raises(ConfigError, match=r"HUBNET_REDIS_URL.*hubnet\[embedded\]"):
        find_server()


# -- answers without end ----------------------------------------------------------------------------------------------


def said_by(words: bytes, most: int = 1 << 20, seconds: float = 20.0, **how: float) -> Any:
    """What a question comes to, put to somebody who says this."""
    with Stranger(words, **how) as one, socket.create_connection(("127.0.0.1", one.port)) as sock:
        sock.sendall(b"x")
        return next_reply(sock, hiredis.Reader(), time.monotonic() + seconds, most)


def test_an_answer_that_is_longer_than_any_we_ask_for_is_not_taken_in():
    assert said_by(b"$5\r\nwhole\r\n") == b"whole"
    with pytest.raises(TooMuch, match="more than 1048576 bytes"):
        said_by(b"$9000000\r\n" + bytes(9_000_000))


def test_an_answer_that_comes_letter_by_letter_ends_at_its_limit():
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        said_by(b"$1000\r\n" + bytes(1000), seconds=0.5, letters_every=0.05)
    assert time.monotonic() - begun < 25

"""What is no secret is refused by name, wherever it comes from; and without a secret nobody beyond this machine is served.

How a passphrase is judged is tested in ``core/test_keys.py``, what may be believed of a file in ``test_runtime.py``: here
are the three ways in, as a peer that starts takes them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hubnet import environment, runtime
from hubnet.core.keys import Keyring, new_token
from hubnet.environment import Settings
from hubnet.errors import ConfigError
from hubnet.rotation import keyring as _keyring
from tests.conftest import Net
from tests.security.listening import descendants, listening

TOKEN = new_token(bytes(range(32)))
root_only = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a file away")
HERE = SimpleNamespace(local=True)  # of a broker, all that is asked when there is no secret

Ring = Callable[[str], Keyring]


def by_variable(secret: str, _: Path) -> Settings:
    return environment.load({"HUBNET_SECRET": secret}, {})[0]


def by_configure(secret: str, _: Path) -> Settings:
    return environment.made("configure", secret=secret)


def by_list(secret: str, _: Path) -> Settings:
    """Behind a good one: the second of a rotation."""
    return environment.made("configure", secret=[TOKEN, secret])


def by_file(secret: str, folder: Path) -> Settings:
    file = folder / "secret"
    file.touch(mode=0o600)
    file.write_bytes(secret.encode())
    return environment.load({"HUBNET_SECRET_FILE": str(file)}, {})[0]


WAYS = {"variable": by_variable, "configure": by_configure, "list": by_list, "file": by_file}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "private"
    made.mkdir(mode=0o700)
    return made


# -- 33: secrets that are none ---------------------------------------------------------------------------------------

BLANK = {"empty": "", "blank": "  ", "newline": "\n", "CRLF": "\r\n", "tab": "\t", "comma": ","}
BAD = {
    "a mark alone": "\ufeff", "a mark and a newline": "\ufeff\n", "one character": "x", "one blank word": " x ",
    "hubnet": "hubnet", "changeme": "changeme", "password": "password", "Password": "Password", "secret": "secret",
    "admin": "admin", "default": "default", "monster": "monster", "a default word made longer": "changeme!!!!!!!!!",
    "a default word and figures": "hubnet1234567890", "15 characters": "abcdefghijk-mno", "one repeated": "a" * 40,
    "two repeated": "ab" * 20, "16 with blanks around": "abcdefghijklm  \t", "a token's beginning": "hubnet1-",
    "a token cut short": TOKEN[:-1], "a token mistyped": TOKEN[:20] + ("7" if TOKEN[20] != "7" else "a") + TOKEN[21:],
}  # fmt: skip
GUESSED = [
    "passwordpassword", "changemechangeme", "hubnet-hubnet-hubnet", "1234567890123456", "0123456789abcdef",
    "abcdefghijklmnop", "qwertyuiopasdfgh",
]  # fmt: skip


def ring_of(settings: Settings) -> Keyring:
    return _keyring(settings, HERE)  # type: ignore[arg-type]


@every_way
def test_a_good_secret_is_taken_by_every_way(way, folder):
    """Else the refusals below would prove nothing."""
    ring = ring_of(way(TOKEN, folder))
    assert ring.first == Keyring.of([TOKEN], "default").first


@every_way
@pytest.mark.parametrize("secret", BAD.values(), ids=BAD)
def test_what_is_no_secret_is_refused_by_name_and_not_repeated(way, secret, folder):
    """Attack 33."""
    with pytest.raises(ConfigError, match="HUBNET_SECRET") as caught:
        ring_of(way(secret, folder))
    if len(secret.strip()) > 8:
        assert secret.strip() not in str(caught.value)


@pytest.mark.parametrize("secret", BLANK.values(), ids=BLANK)
def test_a_blank_file_is_refused_by_name(secret, folder):
    """Attack 33. Whoever names a file means that there is a secret in it."""
    with pytest.raises(ConfigError, match=r"^HUBNET_SECRET"):
        ring_of(by_file(secret, folder))


@pytest.mark.parametrize("way", [by_variable, by_configure])
@pytest.mark.parametrize("secret", BLANK.values(), ids=BLANK)
def test_a_blank_secret_is_refused_by_name(way, secret, folder, monkeypatch):
    """Attack 33, to the letter: a variable that somebody forgot to fill in is told at once."""
    monkeypatch.setattr(runtime, "machine_secret", lambda: TOKEN)
    with pytest.raises(ConfigError, match="HUBNET_SECRET"):
        ring_of(way(secret, folder))


@pytest.mark.parametrize("secret", GUESSED)
def test_a_passphrase_that_is_guessed_first_is_refused(secret):
    """Attack 33. Sixteen characters that stand at the head of every word list."""
    with pytest.raises(ConfigError, match="HUBNET_SECRET"):
        Keyring.of([secret], "default")


# -- 34: files that others have a hand in ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [mode for mode in range(0o600, 0o700) if mode & 0o077])
def test_no_bit_of_others_is_allowed_in_the_files_mode(folder, mode):
    """Attack 34. Readable, writable or executable, by the group or by the world."""
    settings = by_file(TOKEN, folder)
    (folder / "secret").chmod(mode)
    with pytest.raises(ConfigError, match=r"^HUBNET_SECRET_FILE: others can read .*chmod 600") as caught:
        ring_of(settings)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("mode", range(0o700, 0o1000))
def test_whoever_can_write_the_folder_can_put_another_file_there(folder, mode):
    """Attack 34. Reading and entering a folder harm nobody; writing does."""
    settings = by_file(TOKEN, folder)
    folder.chmod(mode)
    if not mode & 0o022:
        assert len(ring_of(settings).first.kid) == 8
        return
    with pytest.raises(ConfigError, match=r"^HUBNET_SECRET_FILE: others can write the folder .*chmod 700"):
        ring_of(settings)


def test_a_link_leads_to_a_file_that_is_judged_as_if_it_was_named_itself(folder, tmp_path):
    """Attack 34. Orchestrators mount secrets as links: the file behind is what counts."""
    by_file(TOKEN, folder)
    link = tmp_path / "link"
    link.symlink_to(folder / "secret")
    tmp_path.chmod(0o700)
    settings = environment.load({"HUBNET_SECRET_FILE": str(link)}, {})[0]
    assert ring_of(settings).first == Keyring.of([TOKEN], "default").first
    (folder / "secret").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        ring_of(settings)


def test_a_link_in_a_folder_that_others_can_write_is_refused(folder, tmp_path):
    """Attack 34. Whoever can replace the link chooses among all files of this user what is taken for the secret."""
    by_file(TOKEN, folder)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "link").symlink_to(folder / "secret")
    with pytest.raises(ConfigError, match="HUBNET_SECRET_FILE"):
        ring_of(environment.load({"HUBNET_SECRET_FILE": str(shared / "link")}, {})[0])


def test_a_folder_whose_own_folder_others_can_write_is_refused(folder):
    """Attack 34. Whoever can write above can move the whole folder away, and put another in its place."""
    settings = by_file(TOKEN, folder)
    folder.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="HUBNET_SECRET_FILE"):
        ring_of(settings)


def test_the_file_that_is_judged_is_the_file_that_is_read(folder, tmp_path, monkeypatch):
    """Attack 34. Between the look and the reading the name may come to mean another file."""
    settings = by_file(TOKEN, folder)
    theirs = tmp_path / "theirs"
    theirs.write_text(new_token(bytes(32)))
    theirs.chmod(0o644)
    true_fstat, true_stat = os.fstat, Path.stat

    def exchange(mode: os.stat_result) -> os.stat_result:
        if stat.S_ISREG(mode.st_mode):
            (folder / "secret").unlink(missing_ok=True)
            (folder / "secret").symlink_to(theirs)
        return mode

    monkeypatch.setattr(os, "fstat", lambda number: exchange(true_fstat(number)))
    monkeypatch.setattr(Path, "stat", lambda self, **more: exchange(true_stat(self, **more)))
    try:
        ring = ring_of(settings)
    except ConfigError:
        return
    assert ring.first == Keyring.of([TOKEN], "default").first


@root_only
def test_a_file_of_another_owner_is_refused_and_one_of_roots_is_not(folder):
    """Attack 34. The folder's owner counts as well: it can write there, whatever the mode says."""
    settings = by_file(TOKEN, folder)
    os.chown(folder / "secret", 12345, 12345)
    with pytest.raises(ConfigError, match=r"^HUBNET_SECRET_FILE: .* belongs to somebody else"):
        ring_of(settings)


@root_only
def test_a_file_in_a_folder_of_another_owner_is_refused(folder):
    """Attack 34. An owner can write its folder, whatever the mode says now."""
    settings = by_file(TOKEN, folder)
    os.chown(folder, 12345, 12345)
    with pytest.raises(ConfigError, match="HUBNET_SECRET_FILE"):
        ring_of(settings)


# -- 39: without a secret, loopback ----------------------------------------------------------------------------------

TASKS = "import hubnet\n@hubnet.connect('add')\ndef add(a, b): return a + b\n"


def addresses(net: Net) -> set[str]:
    """Where anything listens that this net started, whoever started it in turn."""
    return {host for process in net._processes for pid in descendants(process.pid) for host, _ in listening(pid)}


def test_without_a_secret_all_that_listens_listens_on_loopback(net: Net) -> None:
    """Attack 39. The hub, its embedded server and a worker that has been called, as the kernel has them."""
    hub = net.hub()
    worker = net.worker(TASKS, HUBNET_GROUP="render")
    assert net.cli("peers", "render", "--wait", "1").returncode == 0
    assert net.cli("call", "render", "add", "1", "2").stdout == "3\n"
    found = [listening(pid) for process in (hub, worker) for pid in descendants(process.pid)]
    assert len([ports for ports in found if ports]) == 3  # two peers, one server
    assert {host for ports in found for host, _ in ports} == {"127.0.0.1"}


def test_with_a_secret_and_a_wish_it_listens_where_it_is_told(net: Net) -> None:
    """Else the test above might see too little."""
    hub = net.run(
        "python", "-m", "hubnet", "hub", HUBNET_HOST="0.0.0.0", HUBNET_ADVERTISE="127.0.0.1", HUBNET_SECRET=TOKEN
    )
    hub.wait_for("listening on")
    assert {host for host, _ in listening(hub.pid)} == {"0.0.0.0"}
    assert addresses(net) == {"0.0.0.0", "127.0.0.1"}  # the server stays where it was


@pytest.mark.parametrize(
    ("host", "command"),
    [("0.0.0.0", ["hub"]), ("0.0.0.0", ["worker", "tasks"]), ("::", ["hub"]), ("192.0.2.1", ["hub"])],
)
def test_beyond_loopback_without_a_secret_is_refused_by_name_before_anything_listens(net: Net, host, command) -> None:
    """Attack 39."""
    (net.folder / "tasks.py").write_text(TASKS)
    done = net.cli(*command, HUBNET_HOST=host, HUBNET_ADVERTISE="127.0.0.1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hubnet: HUBNET_SECRET: beyond one machine a secret is required"), done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(net.folder.glob("hubnet-*/broker.json"))


@pytest.mark.parametrize("blank", ["", " ,\n"])
def test_a_blank_secret_opens_nothing_beyond_loopback_either(net: Net, blank) -> None:
    """Attack 39, as a compose file does it whose variable nobody has filled in."""
    done = net.cli("hub", HUBNET_HOST="0.0.0.0", HUBNET_SECRET=blank)
    assert done.returncode == 2
    assert done.stderr.startswith("hubnet: HUBNET_SECRET: (hidden) is not allowed"), done.stderr


def test_a_redis_elsewhere_asks_for_a_secret_as_well(net: Net) -> None:
    """Attack 39. Whoever else uses that Redis would be on the net."""
    done = net.cli("hub", HUBNET_REDIS_URL="redis://192.0.2.1:6379")
    assert done.returncode == 2
    assert "HUBNET_SECRET: beyond one machine" in done.stderr, done.stderr

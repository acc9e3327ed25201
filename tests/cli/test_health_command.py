"""``hubnet health``."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

from tests.conftest import Net
from tests.waiting import eventually, free_port

TASKS = "import hubnet\n@hubnet.connect('add')\ndef add(a, b): return a + b\n"


def test_a_registered_peer_is_healthy(net: Net) -> None:
    port = str(free_port())
    net.hub()
    net.worker(TASKS, HUBNET_PORT=port)

    eventually(lambda: net.cli("health", HUBNET_PORT=port).returncode == 0)


def test_it_does_without_redis(net: Net) -> None:
    port = str(free_port())
    net.hub(HUBNET_PORT=port)
    eventually(lambda: net.cli("health", HUBNET_PORT=port).returncode == 0)
    code = (
        "import sys\nfrom hubnet.cli import commands\ntry:\n    commands(['health'])\nexcept SystemExit as end:\n"
        "    assert end.code == 0\nsys.exit('redis' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], env={**net.env, "HUBNET_PORT": port}, check=False)

    assert done.returncode == 0


def test_a_peer_that_found_no_hub_is_not_healthy(net: Net) -> None:
    port = str(free_port())
    net.worker(TASKS, HUBNET_PORT=port)

    done = net.cli("health", HUBNET_PORT=port)

    assert done.returncode == 1
    assert "not registered" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_there_is_exit_code_3(net: Net) -> None:
    done = net.cli("health", HUBNET_PORT=str(free_port()))

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


def test_a_stopped_process_does_not_hang_it(net: Net) -> None:
    port = str(free_port())
    hub = net.hub(HUBNET_PORT=port)
    hub.signal(signal.SIGSTOP)

    begin = time.monotonic()
    done = net.cli("health", "--timeout", "1", HUBNET_PORT=port)

    assert done.returncode in {3, 4}
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - begin < 15


def test_somebody_else_on_the_port_does_not_hang_it(net: Net) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = net.cli("health", "--timeout", "1", HUBNET_PORT=str(other.getsockname()[1]))

    assert done.returncode in {3, 4}


def test_the_secret_may_come_by_file_and_another_secret_is_unhealthy(net: Net) -> None:
    port = str(free_port())
    file = net.folder / "secret"
    file.write_text("a passphrase, long and dear\n")
    file.chmod(0o600)
    net.hub(HUBNET_PORT=port, HUBNET_SECRET_FILE=str(file))

    right = eventually(lambda: net.cli("health", HUBNET_PORT=port, HUBNET_SECRET_FILE=str(file)).returncode == 0)
    wrong = net.cli("health", HUBNET_PORT=port, HUBNET_SECRET="another passphrase as long")

    assert right
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1


def test_a_hub_s_own_advertised_address_does_not_make_the_command_take_itself_for_the_hub(net: Net) -> None:
    port = str(free_port())
    env = {"HUBNET_PORT": port, "HUBNET_ADVERTISE": f"127.0.0.1:{port}", "HUBNET_IS_HUB": "1"}
    net.hub(**env)

    eventually(lambda: net.cli("health", **env).returncode == 0)


def test_a_port_that_the_system_chose_must_be_named(net: Net) -> None:
    hub = net.hub()
    port = hub.out.partition("127.0.0.1:")[2].partition(",")[0]

    assert net.cli("health").returncode == 2
    eventually(lambda: net.cli("health", "--port", port).returncode == 0)


def test_it_looks_up_no_name_for_redis(net: Net) -> None:
    env = {"HUBNET_PORT": str(free_port()), "HUBNET_SECRET": "a passphrase long and dear"}
    net.hub(**env)
    eventually(lambda: net.cli("health", **env).returncode == 0)

    done = net.cli("health", **env, HUBNET_REDIS_URL="redis://no-such-host.invalid:6379", HUBNET_HOST="0.0.0.0")

    assert done.returncode == 0, done.stderr

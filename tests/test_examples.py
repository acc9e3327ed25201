"""The examples, each run as its page says: real processes that find each other by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Net, Process
from tests.waiting import eventually

EXAMPLES = Path(__file__).parents[1] / "examples"


BY_THE_README = {"quickstart/worker.py", "quickstart/caller.py"}  # tests/test_readme.py
IMPORTED = {
    "simple_connection/functions.py", "tagged_connection/version1/app/__init__.py", "tagged_connection/version1/app/pictures.py",
    "tagged_connection/version2/app/__init__.py", "tagged_connection/version2/app/images.py",
}  # fmt: skip


@pytest.fixture
def hub(net: Net) -> Process:
    return net.hub()


def ended(process: Process) -> list[str]:
    """What a process printed, once it has ended well."""
    assert process.wait(60) == 0, process.report()
    return process.out.splitlines()


def test_simple_connection(net: Net, hub: Process) -> None:
    here = EXAMPLES / "simple_connection"
    server = net.run("python", str(here / "server.py"), HUBNET_GROUP="servers")
    client = net.run("python", str(here / "client.py"))
    there, own = ended(client)
    assert there.startswith("there: you are ")
    assert there.endswith(f"process {server.pid}")
    assert own.startswith("here: I am ")
    assert own.endswith(f"process {client.pid}")
    assert server.stop() == 0


def test_simple_subscription_with_a_hub(net: Net) -> None:
    here = EXAMPLES / "simple_subscription"
    hub = net.run("python", str(here / "hub.py"), HUBNET_IS_HUB="1")
    cellar, attic = (
        net.run("python", str(here / "publisher.py"), HUBNET_GROUP=group, EVERY="0.1") for group in ("cellar", "attic")
    )
    listener = net.run("python", str(here / "subscriber.py"), "cellar")
    eventually(lambda: listener.out.count("\n") >= 3)
    eventually(lambda: "hub: cellar " in hub.out and "hub: attic " in hub.out)
    assert all(line.startswith("cellar ") for line in listener.out.splitlines())
    for process in (listener, cellar, attic, hub):
        process.signal(15)
    assert [process.wait() for process in (listener, hub)] == [0, 0]


def test_tagged_connection_between_two_versions_in_both_directions(net: Net, hub: Process) -> None:
    here = EXAMPLES / "tagged_connection"
    for version, module in (("version1", "app.pictures"), ("version2", "app.images")):
        path = f"{here / version}:{net.env['PYTHONPATH']}"
        net.run("python", "-m", "hubnet", "worker", module, HUBNET_GROUP=version, PYTHONPATH=path).wait_for(
            "listening on"
        )
    answers = []
    for version in "12":
        path = f"{here}/version{version}:{net.env['PYTHONPATH']}"
        answers += ended(net.run("python", str(here / "ask.py"), version, PYTHONPATH=path))
    assert answers == ["version 2 made sunset.exr at 32", "version 1 made sunset.exr at 32"]


def test_every_script_of_the_examples_is_run_here_and_on_the_compose_net() -> None:
    scripts = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")} - BY_THE_README - IMPORTED
    by_processes = Path(__file__).read_text()
    by_containers = (Path(__file__).parent / "cluster" / "test_cluster.py").read_text()
    assert len(scripts) == 6
    for script in scripts:
        folder, name = script.split("/")
        assert f'"{folder}"' in by_processes
        assert f'"{name}"' in by_processes
        assert f'"{folder}"' in by_containers
        assert f'"{name}"' in by_containers

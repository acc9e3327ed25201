"""The reference's document on its modules, their notes, and the top level of the package."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib import metadata

import pytest

import hubnet
from tests.sentences import DOCUMENT, SIGNATURE, differs, items, sentence

from .conftest import Actor, Net, Raised
from .witness import id_of


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


def exported_from(module: str) -> set[str]:
    """What users get of a module: names at the top level that are defined there."""
    names = vars(hubnet)  # the constants are not there: asking for HOST_IP starts a peer
    return {name for name in hubnet.__all__ if getattr(names.get(name), "__module__", "") == module}


@sentence("Contains the general network interactions for net.")
def test_the_api_module_contains_the_general_network_interactions() -> None:
    assert {"peers", "peer_group", "wait_for", "serve"} <= exported_from("hubnet.api")


@pytest.mark.processes
@sentence("Console script for net.")
def test_there_is_a_console_script(shared: Net, hub: Actor) -> None:
    (script,) = (one for one in metadata.entry_points(group="console_scripts") if one.name == "hubnet")
    assert script.value == "hubnet.__main__:main"
    env = dict(shared.env)
    if shared.guarded:
        env["HUBNET_REDIS_URL"] = shared.guarded.url("worker")
    told = subprocess.run(
        [sys.executable, "-m", "hubnet", "peers", "--json"], env=env, cwd=shared.folder, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert id_of(hub).decode() in json.loads(told.stdout)


@sentence("Contains the connect decorator and should have nothing else.")
def test_the_connect_module_contains_the_connect_decorator_and_nothing_else_for_users() -> None:
    assert exported_from("hubnet.connect") == {"connect"}


@sentence("Contains the event decorator and should have nothing else.")
def test_the_event_module_contains_the_event_decorator_and_nothing_else_for_users() -> None:
    assert exported_from("hubnet.event") == {"event"}


@sentence("Contains the flag decorator and should have nothing else.")
def test_the_flag_module_contains_the_flag_decorator_and_nothing_else_for_users() -> None:
    assert exported_from("hubnet.flag") == {"flag"}


@sentence("Contains the subscribe decorator and should have nothing else.")
def test_the_subscribe_module_contains_the_subscribe_decorator_and_nothing_else_for_users() -> None:
    assert exported_from("hubnet.subscribe") == {"subscribe"}


@differs("Contains the peer handler and should have nothing else.", of="environment")
def test_the_environment_module_contains_the_settings() -> None:
    assert exported_from("hubnet.environment") == {"configure"}


def does_not_exist(name: str) -> None:
    """Check that there is no such module."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


@differs("Contains the peer handler and should have nothing else.", of="handler")
@differs("class net.handler.PeerHandler(request, client_address, server)", "Bases: socketserver.BaseRequestHandler")
@differs("handle()")
def test_there_is_no_peer_handler_to_import() -> None:
    does_not_exist("hubnet.handler")


@sentence(
    "Handles all incoming requests to the applications Peer server.", "Handles all incoming requests to the server."
)
def test_all_incoming_requests_to_the_peer_server_are_handled(shared: Net, hub: Actor) -> None:
    """Of several peers at once: calls, questions about it, and calls for what it does not have."""
    server = shared.worker("@hubnet.connect('double')\ndef double(x): return 2 * x")
    callers = [shared.worker("@hubnet.connect('double')\ndef double(x): pass\n@hubnet.connect('no')\ndef no(): pass")
               for _ in range(3)]  # fmt: skip
    for one in callers:
        one.run(f"server = {id_of(server)!r}")
        one.send("ask", "[double(n, peer=server) for n in range(100)], hubnet.info(peer=server)['port']")
    port = server.ask("hubnet.Peer().port")
    for one in callers:
        assert one.answer() == ([2 * n for n in range(100)], port)
        with pytest.raises(Raised, match="does not have the connection"):
            one.ask("no(peer=server)")
        one.leave()
    server.leave()


@sentence("Do not modify or interact with directly.")
def test_there_is_nothing_of_the_server_to_modify_or_to_interact_with() -> None:
    assert not [name for name in hubnet.__all__ if re.search("handler|server", name, re.IGNORECASE)]


@differs("python 2/3 imports handled here")
@differs("exception net.imports.ConnectionRefusedError")
def test_there_is_no_imports_module() -> None:
    does_not_exist("hubnet.imports")


@sentence("Bases: ConnectionError")
def test_a_peer_that_cannot_be_reached_is_a_connection_error() -> None:
    assert issubclass(hubnet.PeerUnreachable, ConnectionError)


@sentence("Connection refused.")
def test_a_refused_connection_is_pythons_connection_refused_error(shared: Net, hub: Actor) -> None:
    caller = shared.worker()
    caller.run(
        """
        try:
            hubnet.info(peer=("127.0.0.1", 1))
        except ConnectionRefusedError as error:
            caught = error
        """
    )
    assert caller.ask("isinstance(caught, hubnet.PeerUnreachable)")
    assert "127.0.0.1:1" in caller.ask("str(caught)")
    caller.leave()


@sentence("Top-level package for net.")
def test_the_top_level_package_has_each_name_that_the_document_prints_there() -> None:
    signatures = [item.text for item in items(DOCUMENT.read_text()) if item.kind == SIGNATURE]
    top = {found[1] for text in signatures if (found := re.match(r"net\.(\w+)\(", text))}
    assert top == {
        "connect", "flag", "Peer", "null_response", "pass_through", "null", "info", "invalid_connection", "subscribe",
        "event", "connections",
    }  # fmt: skip
    assert top | {"peers"} <= set(hubnet.__all__)
    assert all(callable(getattr(hubnet, name)) for name in top)

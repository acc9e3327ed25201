"""The reference's document on ``net.connect``, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hubnet
from tests.examples import code
from tests.sentences import example, sentence

from .conftest import ROOT, Actor, Net, Raised
from .witness import id_of, parameters, path_tag, watching

FUNCTION = """
import hubnet
@hubnet.connect({tag})
def {name}(value):
    return "{version}", value
"""


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


@pytest.fixture
def pair(shared: Net, hub: Actor) -> Iterator[tuple[Actor, Actor, bytes]]:
    """PeerA, PeerB and PeerB's id."""
    peer_a, peer_b = shared.worker(watching("your_function")), shared.worker(watching("your_function"))
    yield peer_a, peer_b, id_of(peer_b)
    peer_a.leave()
    peer_b.leave()


def versions(net: Net, *, tag: str) -> tuple[Actor, Actor, bytes]:
    """The two versions of the app in the document's trees, version 2 running on PeerB; and PeerB's id."""
    made = []
    for version, name in (("1", "function"), ("2", "function2")):
        folder = Path(net.folder) / f"{tag or 'untagged'}-{version}"
        package = folder / "app"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "module.py").write_text(
            FUNCTION.format(tag=repr(tag) if tag else "", name=name, version=f"version {version}")
        )
        made.append(net.worker(f"from app.module import {name}", PYTHONPATH=f"{folder}:{ROOT}"))
    return made[0], made[1], id_of(made[1])


@pytest.fixture(scope="module")
def renamed(shared: Net, hub: Actor) -> tuple[Actor, Actor, bytes]:
    return versions(shared, tag="")


@pytest.fixture(scope="module")
def tagged(shared: Net, hub: Actor) -> tuple[Actor, Actor, bytes]:
    return versions(shared, tag="MyTaggedFunction")


@sentence("net.connect.connect(tag=None)", "net.connect(tag=None)")
def test_connect_takes_a_tag_which_is_none_by_default() -> None:
    from hubnet.connect import connect

    assert connect is hubnet.connect
    assert parameters(connect) == "(tag=None)"


@sentence("Registers a function as a connection.")
def test_connect_registers_a_function_as_a_connection(pair: tuple[Actor, Actor, bytes]) -> None:
    peer_a, peer_b, there = pair
    for one in (peer_a, peer_b):
        one.run("@hubnet.connect()\ndef where(first, *more, last): return hubnet.Peer().id, first, more, last")
    assert peer_a.ask(f"where(1, 2, 3, last=4, peer={there!r})") == (there, 1, (2, 3), 4)
    assert peer_a.ask("where(1, 2, 3, last=4)") == (id_of(peer_a), 1, (2, 3), 4)


@sentence("This will be tagged and registered with the Peer server.")
def test_this_will_be_tagged_and_registered_with_the_peer_server(pair: tuple[Actor, Actor, bytes]) -> None:
    peer_b = pair[1]
    assert peer_b.ask("'MyTaggedFunction' in hubnet.Peer().CONNECTIONS") is False
    peer_b.run(code("connect_tagged"))
    assert peer_b.ask("hubnet.Peer().CONNECTIONS['MyTaggedFunction'] is your_function.__wrapped__")


@sentence(
    "The tag is a base64 encoded path to the function or can be manually tagged with the tag parameter.",
)
def test_the_tag_is_a_base64_encoded_path_to_the_function_or_given_with_the_tag_parameter(
    shared: Net, pair: tuple[Actor, Actor, bytes]
) -> None:
    shared.module(
        "paths", "import hubnet\n@hubnet.connect()\ndef one(): pass\n@hubnet.connect(tag='given')\ndef two(): pass"
    )
    pair[1].run("import paths")
    assert set(pair[1].ask("hubnet.connections()")) == {path_tag("paths.one"), "given"}


@sentence("Tagging a named function allows you to interconnect functions between code bases.")
def test_tagging_a_named_function_interconnects_functions_between_code_bases(
    shared: Net, pair: tuple[Actor, Actor, bytes]
) -> None:
    shared.module("studio", FUNCTION.format(tag="'shared name'", name="render", version="studio"))
    shared.module("vendor", FUNCTION.format(tag="'shared name'", name="draw", version="vendor"))
    peer_a, peer_b, there = pair
    peer_a.run("import studio")
    peer_b.run("import vendor")
    assert peer_a.ask(f"studio.render(5, peer={there!r})") == ("vendor", 5)
    assert peer_b.ask(f"vendor.draw(5, peer={id_of(peer_a)!r})") == ("studio", 5)


@sentence("For example, a connected function with no tag is tied to the func.__module__ + func.__name__.")
def test_a_connected_function_with_no_tag_is_tied_to_its_module_and_name(
    shared: Net, pair: tuple[Actor, Actor, bytes]
) -> None:
    shared.module("tied", "import hubnet\n" + code("connect_untagged"))
    pair[1].run("import tied")
    path = pair[1].ask("tied.your_function.__module__ + '.' + tied.your_function.__name__")
    assert path == "tied.your_function"
    assert list(pair[1].ask("hubnet.connections()")) == [path_tag(path)]


@sentence("For example, a connected function with no tag is tied to the func.__module__ + func.__name__.")
def test_a_function_made_by_another_is_tied_to_its_module_and_name_as_well(
    shared: Net, pair: tuple[Actor, Actor, bytes]
) -> None:
    shared.module("factories", "import hubnet\ndef make():\n    @hubnet.connect()\n    def made(): pass\nmake()")
    pair[1].run("import factories")
    assert list(pair[1].ask("hubnet.connections()")) == [path_tag("factories.made")]


@sentence("For example, a connected function with no tag is tied to the func.__module__ + func.__name__.")
def test_a_function_of_a_program_is_tied_to_main_and_its_name_and_to_what_others_import_it_by(
    pair: tuple[Actor, Actor, bytes],
) -> None:
    peer_a, peer_b, there = pair
    peer_b.run("@hubnet.connect()\ndef of_a_program(value): return __name__, value")
    peer_a.run(f"there = hubnet.RemotePeer({there!r}, hubnet.peers()['peers'][{there!r}])")
    for path in ("__main__.of_a_program", "actor.of_a_program"):  # the first for who has no file, such as python -c
        assert peer_a.ask(f"there.call({path_tag(path)!r}, 5)") == ("__main__", 5)


@pytest.mark.processes
@sentence(
    "This means the peers will only know which functions are compatible based on the namespace staying the same.",
)
def test_the_peers_only_know_compatible_functions_by_the_namespace_staying_the_same(
    shared: Net, pair: tuple[Actor, Actor, bytes]
) -> None:
    shared.module("stays", FUNCTION.format(tag="", name="function", version="same"))
    shared.module("moved", FUNCTION.format(tag="", name="function", version="same"))
    peer_a, peer_b, there = pair
    peer_a.run("import stays, moved")
    peer_b.run("import stays")
    assert peer_a.ask(f"stays.function(1, peer={there!r})") == ("same", 1)
    with pytest.raises(Raised) as caught:
        peer_a.ask(f"moved.function(1, peer={there!r})")
    assert caught.value.kind == "InvalidConnection"


@pytest.mark.processes
@sentence(
    "In the above example, PeerA could make a request to PeerB to execute “app.module.function”.",
)
def test_peer_a_could_make_a_request_to_peer_b_to_execute_app_module_function(
    renamed: tuple[Actor, Actor, bytes],
) -> None:
    peer_a, _, there = renamed
    with pytest.raises(Raised) as caught:
        peer_a.ask(f"function(1, peer={there!r})")
    assert "'app.module.function'" in caught.value.text  # PeerB's answer to the request


@pytest.mark.processes
@sentence("But that function no longer exists as far as PeerB is concerned.")
def test_that_function_no_longer_exists_as_far_as_peer_b_is_concerned(renamed: tuple[Actor, Actor, bytes]) -> None:
    _, peer_b, _ = renamed
    assert list(peer_b.ask("hubnet.connections()")) == [path_tag("app.module.function2")]


@pytest.mark.processes
@sentence(
    "The source code and functionality could be exactly the same, but the logical location is different and therefore "
    "will fail."
)
def test_the_source_code_could_be_the_same_but_the_logical_location_is_different_and_therefore_will_fail(
    renamed: tuple[Actor, Actor, bytes],
) -> None:
    peer_a, peer_b, there = renamed
    assert peer_a.ask("function.__wrapped__.__code__.co_code") == peer_b.ask("function2.__wrapped__.__code__.co_code")
    with pytest.raises(Raised) as caught:
        peer_a.ask(f"function(1, peer={there!r})")
    assert (caught.value.kind, caught.value.ran) == ("InvalidConnection", "NO")


@pytest.mark.processes
@sentence(
    "In the above example, we have tagged function and function2 with the same tag, “MyTaggedFunction”.",
)
def test_we_have_tagged_function_and_function2_with_the_same_tag(tagged: tuple[Actor, Actor, bytes]) -> None:
    for actor, name in ((tagged[0], "function"), (tagged[1], "function2")):
        assert {tag: one["name"] for tag, one in actor.ask("hubnet.connections()").items()} == {
            "MyTaggedFunction": name
        }


@pytest.mark.processes
@sentence(
    "Now when PeerA requests to execute, it will request that PeerB executes “MyTaggedFunction” which is attached to the "
    "new renamed function."
)
def test_when_peer_a_requests_to_execute_peer_b_executes_the_new_renamed_function(
    tagged: tuple[Actor, Actor, bytes],
) -> None:
    peer_a, peer_b, there = tagged
    assert peer_a.ask(f"function(1, peer={there!r})") == ("version 2", 1)
    assert peer_b.ask(f"function2(1, peer={id_of(peer_a)!r})") == ("version 1", 1)
    assert peer_a.ask("function(1)") == ("version 1", 1)


def runs_there_and_here(pair: tuple[Actor, Actor, bytes], printed: str) -> None:
    """Check that the example's function, decorated at both ends, runs where it is asked to."""
    peer_a, peer_b, there = pair
    peer_a.run(printed)
    peer_b.run(printed)
    assert peer_a.ask(f"your_function('there', peer={there!r})") == "there"
    assert (peer_a.ask("ran"), peer_b.ask("ran")) == ([], [{"some_value": "there"}])
    assert peer_a.ask("your_function(some_value='here')") == "here"
    assert peer_a.ask("ran") == [{"some_value": "here"}]


@sentence("Standard no tagging")
@example("connect_untagged")
def test_standard_no_tagging(pair: tuple[Actor, Actor, bytes]) -> None:
    runs_there_and_here(pair, code("connect_untagged"))


@sentence("Custom tagging")
@example("connect_tagged")
def test_custom_tagging(pair: tuple[Actor, Actor, bytes]) -> None:
    runs_there_and_here(pair, code("connect_tagged"))
    assert list(pair[1].ask("hubnet.connections()")) == ["MyTaggedFunction"]

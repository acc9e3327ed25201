"""A Python that was built with the hashes of FIPS 140 alone has no BLAKE2: its peers are peers like any other."""

from __future__ import annotations

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net

pytestmark = pytest.mark.processes

APP = """
    heard = []
    @hubnet.connect("suites")
    def suites(): return [link.suite for link in hubnet.Peer()._parts.serving._links.values()]
    @hubnet.connect("length")
    def length(data): return len(data)
    @hubnet.subscribe("done")
    def on_done(n): heard.append(n)
    @hubnet.event("done")
    def done(n): return (n,), {}
"""
WITHOUT = "import sys; sys.modules['_blake2'] = None"
TAGGED, HASHED = 1, 4


def peer(net: Net, *, blake2: bool, hub: bool = False, **env: str) -> Actor:
    """A peer, with BLAKE2 or without."""
    made = net.actor(start=False, HUBNET_IS_HUB="01"[hub], HUBNET_WIRE="open-mac", **env)
    made.run(("" if blake2 else WITHOUT) + "\nimport hubnet")
    return made.run(APP)


@pytest.mark.parametrize("hub_has_it", [True, False], ids=["the hub has it", "the hub has it not"])
def test_peers_with_and_without_it_call_each_other_and_hear_each_other(alone: Net, hub_has_it: bool) -> None:
    peer(alone, blake2=hub_has_it, hub=True)
    there, here = peer(alone, blake2=False, HUBNET_GROUP="without"), peer(alone, blake2=True, HUBNET_GROUP="with")
    for asker, group in ((here, "without"), (there, "with")):
        asker.run(f"other = hubnet.wait_for(1, '{group}', timeout=20)[0]")
        assert HASHED in asker.ask("suites(peer=other, timeout=20)")
        assert TAGGED not in there.ask("suites()")
        assert asker.ask("length(bytes(3_000_000), peer=other, timeout=20)") == 3_000_000
    for speaker, hearer in ((here, there), (there, here)):
        hearer.run("heard.clear()")
        eventually(lambda one=speaker, other=hearer: (one.run("done(7)"), other.ask("heard"))[1])
        assert set(hearer.ask("heard")) == {7}
    assert not there.ask("__import__('sys').modules['_blake2']")

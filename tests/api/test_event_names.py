"""Names of events, and of the groups that trigger them: each is itself and no other, whatever characters it has."""

from __future__ import annotations

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net, Raised
from .witness import id_of, live

NAMES = [
    "a", "a ", " a", " ", "a b", "a  b", "a\tb", "a\nb", "a\r\nb", "\0", "a\0b", "ab", "abc", "A", "a.b", "a-b", "a_b", "a~b",
    ":", "a:", ":a", "a:b", "a::b", "news:a", "None:a", "event:a", "presence", "hubnet.presence", "/", "a/b", "../a", "a//b",
    "{a}", "{", "}", "{}", "[a]", "a[bc]", "[^b]", "a?b", "?", "a?", "\\", "\\a", "a\\?b", "^a$",
    "%", "%%", "100%", "%2A", "%61", "a%20b", "a+b", "%s", "%(a)s", "{0}",
    "'", '"', "'\"", "\"\"\"", "`a`", "$a", "#a", "a;b", "<a>", "a&b", "a|b", "a=b", "a,b", "(a)", "!a", "@a",
    "ü", "u\u0308", "漢字", "🎬", "👩\u200d🚀", "\u202ea", "\ufeffa", "ﬁ", "fi", "\uff0a", "\u2217",
    "ß", "ss", "İ", "i", "\u00a0", "\u2028",
    "x" * 199, "x" * 200, "x" * 201, "ü" * 200, "x" * 4096, "3\r\n$7\r\nPUBLISH\r\n", "None", "peers", "True", "0",
]  # fmt: skip
TELLS = """
def tell(event, *said): return hubnet.event(event)(lambda *args: (args, {}))(*said)
"""


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


@pytest.fixture(scope="module")
def mouth(shared: Net, hub: Actor) -> Actor:
    return shared.worker(TELLS, HUBNET_GROUP="mouths: {100%}")


@pytest.mark.parametrize("wish", ["", "groups='mouths: {100%}'"], ids=["from everybody", "from a group"])
def test_each_name_is_itself_and_no_other(shared: Net, mouth: Actor, wish: str) -> None:
    ears = shared.worker(
        f"""
        names = {NAMES!r}
        heard = {{name: [] for name in names}}
        for name in names:
            hubnet.subscribe(name, {wish})(lambda said, into=heard[name]: into.append(said))
        """
    )
    live(ears)
    mouth.run(f"for name in {NAMES!r}: tell(name, name)")
    eventually(lambda: ears.ask("all(heard.values())"))
    assert ears.ask("heard") == {name: [name] for name in NAMES}
    assert ears.ask("hubnet.Peer().SUBSCRIPTIONS") == sorted(NAMES)
    assert ears.ask("hubnet.stats().get('events.rejected', 0)") == 0
    listed = f"hubnet.peers('None')['peers'][{id_of(ears)!r}]['subscriptions']"
    eventually(lambda: mouth.ask(listed) == sorted(NAMES))
    ears.leave()


def test_who_hears_a_name_hears_none_that_begins_or_ends_with_it(shared: Net, mouth: Actor) -> None:
    """Nor one that it would match as a pattern."""
    ears = shared.worker(
        """
        heard = []
        for name in ("frame", "f?ame", "[f]rame", "fram[a-z]", "frame.", "fr\\\\ame"):
            hubnet.subscribe(name)(lambda said, name=name: heard.append((name, said)))
            hubnet.subscribe(name, groups="mouths: {100%}")(lambda said, name=name: heard.append((name, said)))
        """
    )
    live(ears)
    others = ["fram", "frames", "aframe", "frame:done", "done:frame", "frame done", "frame/done", "Frame", "frame.done"]
    mouth.run(f"for name in {others!r} + ['frame']: tell(name, name)")
    eventually(lambda: len(ears.ask("heard")) >= 2)
    mouth.run("tell('frame.', 'the last')")
    eventually(lambda: len(ears.ask("heard")) >= 4)
    assert ears.ask("sorted(heard)") == [("frame", "frame")] * 2 + [("frame.", "the last")] * 2
    ears.leave()


@pytest.mark.parametrize("name", ["*", "**", "render.*", "*.done", "a*b", "render.\\*", "**🎬"])
@pytest.mark.parametrize("decorator", ["event", "subscribe"])
def test_a_name_with_a_star_is_refused_and_registers_nothing(mouth: Actor, decorator: str, name: str) -> None:
    with pytest.raises(Raised, match=r"may not be empty or contain '\*'") as caught:
        mouth.ask(f"hubnet.{decorator}({name!r})(lambda *args: (args, {{}}))")
    assert caught.value.kind == "ConfigError"
    assert mouth.ask("hubnet.Peer().SUBSCRIPTIONS") == []


def test_a_name_may_be_a_member_of_an_enumeration_of_str(shared: Net, mouth: Actor) -> None:
    ears = shared.worker(
        """
        import enum
        class News(str, enum.Enum):
            DONE = "the frame is done"
        heard = []
        hubnet.subscribe(News.DONE)(heard.append)
        """
    )
    live(ears)
    assert ears.ask("hubnet.Peer().SUBSCRIPTIONS") == ["the frame is done"]
    mouth.run("tell('the frame is done', 1)")
    eventually(lambda: ears.ask("heard") == [1])
    ears.leave()


GROUPS = ["red", "re", "Red", "red:blue", "{red}", "r*d", "100%", "%72ed", "ü 漢 🎬", "'\"\n", "x" * 200]
_AT_ONCE = 8


def test_a_filter_by_group_hears_that_group_and_no_other_whatever_their_names_are(shared: Net, hub: Actor) -> None:
    """Named as a str, in a list, by a query, and by the id of a peer that is in it."""
    ears = shared.worker("heard = []\nhubnet.peers()")
    for first in range(0, len(GROUPS), _AT_ONCE):
        some = GROUPS[first : first + _AT_ONCE]
        mouths = {group: shared.actor(TELLS, HUBNET_GROUP=group) for group in some}
        ids = {group: id_of(actor) for group, actor in mouths.items()}
        ears.run(
            f"""
            heard = {{}}
            for group, peer_id in {ids!r}.items():
                for kind, wish in [
                    ("str", {{"groups": group}}), ("list", {{"groups": [group, "nobody"]}}), ("id", {{"peers": peer_id}}),
                    ("query", {{"peers": hubnet.peers(group)}}), ("both", {{"groups": group, "peers": peer_id.decode()}}),
                ]:
                    into = heard[group, kind] = []
                    hubnet.subscribe("from groups", **wish)(lambda said, into=into: into.append(said))
            everything = []
            hubnet.subscribe("from groups")(everything.append)
            """
        )
        live(ears)
        for group, actor in mouths.items():
            actor.run(f"tell('from groups', {group!r})")
        eventually(lambda: len(ears.ask("everything")) == len(some))  # noqa: B023 - asked at once
        eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 0)
        kinds = ("str", "list", "id", "query", "both")
        assert ears.ask("heard") == {(group, kind): [group] for group in some for kind in kinds}
        for actor in mouths.values():
            actor.leave()
    ears.leave()

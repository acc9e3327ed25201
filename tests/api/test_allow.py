"""Who may call what: ``connect(allow=…)``, between real processes and in memory."""

from __future__ import annotations

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net, Raised

SERVES = """
    ran = []
    @hubnet.connect("leads", allow="leads")
    def for_leads(value): ran.append(value); return value
    @hubnet.connect("several", allow=["leads", "artists", None])
    def for_several(value): return value
    @hubnet.connect("hubs", allow={"hubs_only": True})
    def for_hubs(value): return value
    @hubnet.connect("hub leads", allow={"groups": "leads", "hubs_only": True})
    def for_hub_leads(value): return value
    @hubnet.connect("nobody", allow=[])
    def for_nobody(value): return value
    @hubnet.connect("everybody")
    def for_everybody(value): return value
"""
ALL = ("leads", "several", "hubs", "hub leads", "nobody", "everybody")
MAY = {
    "lead": {"leads", "several", "everybody"},
    "artist": {"several", "everybody"},
    "plain": {"several", "everybody"},
    "guest": {"everybody"},
    "hub": {"hubs", "everybody"},
    "leading hub": {"leads", "several", "hubs", "hub leads", "everybody"},
}


@pytest.fixture(scope="module")
def callers(shared: Net) -> dict[str, Actor]:
    hub = shared.hub(HUBNET_GROUP="keepers")
    worker = shared.worker(SERVES, HUBNET_GROUP="work")
    groups = {"lead": "leads", "artist": "artists", "plain": "", "guest": "guests"}
    made = {name: shared.actor(HUBNET_GROUP=group) for name, group in groups.items()}
    made |= {"hub": hub, "leading hub": shared.hub(HUBNET_GROUP="leads")}
    for one in made.values():
        one.run("worker = hubnet.wait_for(1, 'work')[0]")
    return {**made, "worker": worker}


@pytest.mark.parametrize("tag", ALL)
@pytest.mark.parametrize("who", MAY)
def test_a_connection_serves_those_it_allows_and_nobody_else(callers: dict[str, Actor], who: str, tag: str) -> None:
    caller = callers[who]
    if tag in MAY[who]:
        assert caller.ask(f"worker.call({tag!r}, 5)") == 5
        return
    for _ in range(2):  # the link goes on
        with pytest.raises(Raised, match=f"'{tag}' is not for .*see its allow=") as caught:
            caller.ask(f"worker.call({tag!r}, 6)")
        assert (caught.value.kind, caught.value.ran) == ("NotAllowed", "NO")
    assert caller.ask("worker.call('everybody', 7)") == 7


def test_what_was_refused_did_not_run(callers: dict[str, Actor]) -> None:
    callers["worker"].run("ran.clear()")
    with pytest.raises(Raised):
        callers["guest"].ask("worker.call('leads', 'refused')")
    callers["lead"].ask("worker.call('leads', 'allowed')")
    assert callers["worker"].ask("ran") == ["allowed"]


def test_a_peer_may_call_itself_whomever_it_allows(shared: Net, callers: dict[str, Actor]) -> None:
    one = shared.worker(SERVES, HUBNET_GROUP="guests too")
    assert one.ask("for_nobody(1)") == 1
    assert one.ask("for_nobody(2, peer=hubnet.Peer().id)") == 2
    one.leave()


def test_a_single_peer_may_be_meant(shared: Net, callers: dict[str, Actor]) -> None:
    ids = {name: callers[name].ask("hubnet.Peer().id") for name in ("lead", "artist")}
    one = shared.worker(
        f"hubnet.connect('one', allow={ids['lead']!r})(lambda: 1)\n"
        f"hubnet.connect('other', allow={{'peers': [{ids['artist'].decode()!r}]}})(lambda: 2)",
        HUBNET_GROUP="singles",
    )
    for name, tag, other in (("lead", "one", "other"), ("artist", "other", "one")):
        callers[name].run("single = hubnet.wait_for(1, 'singles')[0]")
        assert callers[name].ask(f"single.call({tag!r})") in {1, 2}
        with pytest.raises(Raised, match="is not for") as caught:
            callers[name].ask(f"single.call({other!r})")
        assert caught.value.kind == "NotAllowed"
    one.leave()


LABELLED = """
    @hubnet.connect("leads", allow={"labels": {"role": "lead"}})
    def for_leads(): return "lead"
    @hubnet.connect("renders", allow={"labels": {"tags": ["optix", "cuda"], "gpu": 1}})
    def for_renderers(): return "renders"
    @hubnet.connect("both", allow={"groups": "labelled", "labels": {"role": "lead"}})
    def for_both(): return "both"
"""


def allowed(one: Actor) -> set[str]:
    """Which of the labelled connections it may call."""
    return set(one.ask("[tag for tag in ('leads', 'renders', 'both') if tried(tag)]"))


def test_labels_say_who_may_call_from_the_next_call_on(shared: Net, callers: dict[str, Actor]) -> None:
    worker = shared.worker(LABELLED, HUBNET_GROUP="with labels")
    caller = shared.worker(
        """
        def tried(tag):
            try:
                return worker.call(tag)
            except hubnet.NotAllowed:
                return None
        worker = hubnet.wait_for(1, 'with labels')[0]
        """,
        HUBNET_GROUP="labelled",
    )
    assert allowed(caller) == set()
    caller.run("hubnet.describe(role='lead', tags=['optix', 'fast'])")
    assert allowed(caller) == {"leads", "both"}
    caller.run("hubnet.describe(gpu=True)")
    assert allowed(caller) == {"leads", "both"}
    caller.run("hubnet.describe(gpu=1)")
    assert allowed(caller) == {"leads", "both", "renders"}
    caller.run("hubnet.describe(role=None, tags='cuda')")
    assert allowed(caller) == {"renders"}
    for one in (worker, caller):
        one.leave()


def test_saying_the_same_again_costs_no_link(shared: Net, callers: dict[str, Actor]) -> None:
    one = shared.worker("hubnet.describe(role='lead')\nworker = hubnet.wait_for(1, 'work')[0]")
    to_hubs = one.ask("hubnet.stats()['links.idle']")
    one.ask("worker.call('everybody', 1)")
    idle = one.ask("hubnet.stats()['links.idle']")
    assert idle > to_hubs
    one.run("hubnet.describe(role='lead')")
    assert one.ask("hubnet.stats()['links.idle']") == idle
    one.run("hubnet.describe(role='other')")
    assert one.ask("hubnet.stats()['links.idle']") == to_hubs
    one.leave()


def test_a_link_that_comes_about_while_labels_change_serves_one_call(shared: Net, callers: dict[str, Actor]) -> None:
    """It was greeted with the old ones."""
    worker = shared.worker(LABELLED, HUBNET_GROUP="with labels too")
    one = shared.worker(
        """
        worker = hubnet.wait_for(1, 'with labels too')[0]
        dialler = hubnet.Peer().ready().caller._dialler
        dial = dialler.dial
        def dial_and_describe(*args, **how):
            link = dial(*args, **how)
            hubnet.describe(role='lead')
            return link
        dialler.dial = dial_and_describe
        """
    )
    with pytest.raises(Raised, match="is not for"):
        one.ask("worker.call('leads')")
    assert one.ask("worker.call('leads')") == "lead"
    for actor in (one, worker):
        actor.leave()


def test_labels_are_told_by_info_and_in_the_record(shared: Net, callers: dict[str, Actor]) -> None:
    one = shared.worker("hubnet.describe(role='lead', tags=('a', 'b'))", HUBNET_GROUP="described")
    said = {"role": "lead", "tags": ["a", "b"]}
    guest = callers["guest"]
    guest.run("one = hubnet.wait_for(1, 'described')[0]")
    assert guest.ask("one.labels") == said
    assert guest.ask("hubnet.info(peer=one)['labels']") == said
    one.run("hubnet.describe(role=None, slots=4)")
    assert guest.ask("hubnet.info(peer=one)['labels']") == {"tags": ["a", "b"], "slots": 4}
    eventually(
        lambda: guest.ask("hubnet.peers('described', refresh=True)[0].labels") == {"tags": ["a", "b"], "slots": 4}
    )
    one.leave()


@pytest.mark.parametrize(
    ("allow", "kind", "text"),
    [
        ("{'labels': 5}", "TypeError", "'labels': …}.* takes a dict of labels"),
        ("{'labels': {}}", "TypeError", "takes a dict of labels"),
        ("{'labels': {5: 1}}", "TypeError", "a label's name is a str"),
        ("{'labels': {'role': None}}", "TypeError", "'role' is a str, a number"),
        ("5", "TypeError", r"connect\(allow=…\), allow= takes a group \(str\)"),
        ("{'hubs_only': 1}", "TypeError", "hubs_only"),
        ("{'groups': 5}", "TypeError", "groups= takes a group"),
        ("{'nonsense': 5}", "TypeError", "allow= takes a group"),
        ("'peers'", "ConfigError", "may not be called"),
        ("b'nonsense'", "ValueError", "not a peer id"),
    ],
)
def test_what_allow_cannot_mean_is_refused_when_decorated(
    callers: dict[str, Actor], allow: str, kind: str, text: str
) -> None:
    with pytest.raises(Raised, match=text) as caught:
        callers["guest"].run(f"hubnet.connect('x', allow={allow})")
    assert caught.value.kind == kind

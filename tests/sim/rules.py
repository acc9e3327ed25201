"""A simulation of hubnet's rules: its own `core`, on a virtual clock, over a world that fails by a seed.

Nine stories: the numbers of events, the register with restarts and late words, the retries of calls (``retries.py``), homes,
durable events (``refills.py``), listings (``lister.py``), one peer in the eyes of several hubs (``views.py``), a peer of whose
hub nothing is heard (``silences.py``), and a farm (``farm.py``). Whoever breaks a promise is told as Broken, at the step at which
it broke.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter

from hubnet.core import membership, pauses
from hubnet.core.marks import Marks
from hubnet.core.membership import Seen, Verdict
from hubnet.core.register import Entry, Register, Renewal, mark_of
from hubnet.core.sequence import Sequence
from tests.sim.farm import farm
from tests.sim.lister import listings
from tests.sim.refills import durable
from tests.sim.retries import retries
from tests.sim.silences import silences
from tests.sim.views import views
from tests.sim.world import promise

LEASE, SUSPECT = 10.0, 60.0
CHANNEL, PUBLISHER = b"c", b"i" * 16


def events(seed: int) -> float:
    """One publisher, one subscriber, a broker that drops, delays, sends twice and out of order; returns the seconds simulated."""
    dice, marks, sequence = random.Random(seed), Marks(), Sequence()
    now, number, deaf_until, delivered, lost = 0.0, 1, 0.0, [0], 0
    under_way: list[tuple[float, int, int, int]] = []
    order = itertools.count()
    sequence.arrive(PUBLISHER, CHANNEL, 1, 0)

    def send(first: int, count: int) -> None:
        """Most wait for nobody; some are late, and others overtake them."""
        delay = dice.uniform(0.0, 5.0) if dice.random() < 0.2 else 0.01
        heapq.heappush(under_way, (now + delay, next(order), first, count))

    def arrive(until: float) -> None:
        nonlocal lost
        while under_way and under_way[0][0] <= until:
            at, _, first, count = heapq.heappop(under_way)
            if at < deaf_until:
                continue
            said = sequence.arrive(PUBLISHER, CHANNEL, first, count)
            lost += said.lost
            new = range(first + said.repeated, first + count)
            promise(not new or new[0] > delivered[-1], "a number was delivered twice, or before an earlier one")
            delivered.extend(new)
            promise(lost + len(delivered) <= number, "more counted than was published")

    for _ in range(dice.randint(20, 60)):
        now += dice.expovariate(1.0)
        arrive(now)
        if dice.random() < 0.1:
            deaf_until = now + dice.uniform(0, 20)
        for _mark in marks.due(now):
            send(number, 0)
        first, count = number, dice.randint(1, 4)
        number += count
        marks.told(CHANNEL, now)
        for _copy in range(dice.choice((0, 1, 1, 1, 2))):
            send(first, count)
    while (rest := marks.rest(now)) is not None:
        now += rest
        for _mark in marks.due(now):
            send(number, 0)
        arrive(now)
        promise(now < 10_000, "a silent channel costs marks for ever")
    arrive(float("inf"))
    promise(lost + len(delivered) == number, "a lost number was not counted exactly once")
    return now


def register(seed: int) -> float:  # noqa: C901 - one story, told in order
    """Peers that restart, fall silent and die; a hub that sweeps; words that come late."""
    dice, store = random.Random(seed), Register()
    ids = [b"peer-%d" % n for n in range(6)]
    up: dict[bytes, str] = {}
    fate: dict[bytes, Seen] = {}  # what a dial-back finds of the dead
    stopped_until = 0.0  # the hub renews nobody meanwhile
    revision: dict[str, int] = Counter()
    texts: dict[bytes, bytes] = {}
    last_renewed: dict[bytes, float] = {}
    late: list[tuple[float, int, bytes, str]] = []
    order, now, left = itertools.count(), 0.0, Counter[str]()

    def ms() -> float:
        return now * 1000

    def write(peer: bytes, incarnation: str, number: int, replaces: str = "") -> str:
        text = json.dumps({"incarnation": incarnation, "revision": number}).encode()
        entry = Entry("g", peer, text, incarnation, number, replaces)
        said = store.write(ms(), entry, int(LEASE * 1000), 10**9, "e")[0]
        if said == "written":
            texts[peer] = text
        return said

    def standing(peer: bytes) -> dict[str, object] | None:
        text = store.records(ms()).get("g", {}).get(peer)
        return json.loads(text) if text else None

    def bury(peer: bytes, incarnation: str) -> None:
        if store.withdraw(ms(), "g", peer, incarnation, "e", only_if_expired=True):
            left[incarnation] += 1
            promise(left[incarnation] == 1, "left was told twice")
            promise(up.get(peer) != incarnation or now - last_renewed[peer] >= LEASE, "gone while it renewed")

    for _ in range(200):
        now += dice.uniform(0.2, 2.0)
        peer = dice.choice(ids if dice.random() < 0.3 else ids[:2])
        what = dice.random()
        if what < 0.2:  # a restart: the old one's withdrawal may come late
            old, new = up.get(peer), f"{dice.getrandbits(64):016x}"
            if old:
                heapq.heappush(late, (now + dice.uniform(0, 30), next(order), peer, old))
            before = standing(peer)
            said = write(peer, new, 1)
            if before:
                promise(said == "held", "a record of another incarnation was written over without leave")
                said = write(peer, new, 1, str(before["incarnation"]))
            promise(said == "written", "a restarted peer could not register")
            up[peer], revision[new], last_renewed[peer] = new, 1, now
        elif what < 0.3:
            if up.pop(peer, None):
                fate[peer] = dice.choice((Seen.REFUSED, Seen.UNANSWERED, Seen.SILENT))
        elif what < 0.32:
            stopped_until = now + dice.uniform(5, 30)
        elif what < 0.5 and peer in up:
            said = write(peer, up[peer], revision[up[peer]] + 1)
            if said == "written":
                revision[up[peer]] += 1
                last_renewed[peer] = now
                stale = write(peer, up[peer], revision[up[peer]] - 1)
                promise(stale == "older", "a stale record was written over a newer one")
        for one in list(up):
            if now >= stopped_until and dice.random() < 0.8:
                if store.renew(ms(), [Renewal("g", one, mark_of(texts[one]))], None, int(LEASE * 1000), 10**9).missing:
                    write(one, up[one], revision[up[one]])
                last_renewed[one] = now
        while late and late[0][0] <= now:
            _, _, one, old = heapq.heappop(late)
            before = standing(one)
            store.withdraw(ms(), "g", one, old, "e", only_if_expired=False)
            promise(
                before is None or before["incarnation"] == old or standing(one) == before, "an old one removed a newer"
            )
        for one, since in store.late(ms()).since.items():
            record = standing(one)
            promise(one not in up or now - last_renewed[one] >= LEASE - 0.01, "a renewed lease has ended")
            seen = Seen.ALIVE if one in up else fate[one]
            silent = now - since / 1000
            verdict = membership.judge_expired(seen, silent_for=silent, suspect_limit=SUSPECT, reachable=True)
            promise(verdict is not Verdict.GONE or one not in up, "a living peer was declared gone")
            promise(verdict is Verdict.GONE or seen is not Seen.REFUSED, "whom nobody answers for was kept")
            promise(
                verdict is not Verdict.GONE or seen is not Seen.SILENT or silent >= SUSPECT,
                "gone before HUBNET_SUSPECT",
            )
            promise(verdict is Verdict.GONE or seen is not Seen.SILENT or silent < SUSPECT, "a suspect stays for ever")
            if verdict is Verdict.GONE and record:
                bury(one, str(record["incarnation"]))
            elif verdict is Verdict.KEEP and one in up:
                store.renew(ms(), [Renewal("g", one)], None, int(LEASE * 1000), 10**9)
                last_renewed[one] = now
    return now


def homes(seed: int) -> float:
    """Peers choose hubs, hubs die and return; links end, and a hub looks until it has judged."""
    dice = random.Random(seed)
    hubs = [membership.HubEntry(b"hub-%d" % n, "h", n, b"i" * 16, 100.0) for n in range(4)]
    dead = dice.choice(hubs)
    stale = [one._replace(renewed=0.0) if one is dead else one for one in hubs]
    for n in range(20):
        own = b"peer-%d-%d" % (seed, n)
        before = membership.choose_hubs(own, hubs, LEASE)
        after = membership.choose_hubs(own, stale, LEASE)
        promise(after[-1].peer_id == dead.peer_id, "a hub that does not renew is tried before those that do")
        without = [one.peer_id for one in before if one is not dead]
        promise([one.peer_id for one in after[:-1]] == without, "a peer of a living hub moved")
        promise(membership.choose_hubs(own, hubs[::-1], LEASE) == before, "the order hangs on how hubs were listed")
    for failures in (1, 2, 9):
        waits = [dice.uniform(*pauses.before_hub(failures)) for _ in range(50)]
        promise(max(waits) <= 1.0, "a peer waits for ever longer before it looks for a hub")
        promise(max(waits) - min(waits) > 0.1, "all peers of a hub look for the next one at the same moment")
    now = 0.0
    for _ in range(30):
        members = dice.randint(1, 12)
        ended_at = [dice.uniform(-5, 5) for _ in range(dice.randint(0, members - 1))] + [0.0]
        together = sum(abs(at) <= 1.0 for at in ended_at)
        cut_off = membership.lost_half(ended_at, members, 0.0)
        promise(cut_off == (members >= 4 and together * 2 >= members), "a hub doubts itself when it should not, or not")
        seen, moved = dice.choice(list(Seen)), dice.random() < 0.2
        reachable = dice.random() < 0.8
        for looks in itertools.count(1):
            promise(looks <= 8, "a hub looks for ever")
            now += membership.LOOK_APART
            verdict = membership.judge_ended_link(
                seen, looks=looks, reachable=reachable, renewed_elsewhere=moved, cut_off=cut_off
            )
            if verdict is not Verdict.LOOK_AGAIN:
                break
        gone = verdict is Verdict.GONE
        promise(
            not (gone and (moved or not reachable)), "whom another hub renews, or only a lease tells of, was buried"
        )
        promise(not (gone and seen in {Seen.ALIVE, Seen.SILENT}), "who lives, or is stopped, was buried")
        promise(not (gone and cut_off and seen is Seen.UNANSWERED), "a hub that is cut off buried others")
        kept = moved or not reachable or seen in {Seen.ALIVE, Seen.SILENT} or (cut_off and seen is Seen.UNANSWERED)
        promise(gone or kept, "whom nobody answers for was kept")
        promise(looks * membership.LOOK_APART <= 5.0, "gone later than 5 s")
    return now


STORIES = (events, register, retries, homes, durable, listings, views, silences, farm)


def run(seed: int) -> float:
    """All stories of a seed; seconds simulated.

    Raises:
        Broken: a promise did not hold.
    """
    return sum(story(seed) for story in STORIES)

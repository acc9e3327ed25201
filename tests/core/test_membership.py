"""The register's rules."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.identity import generate_id
from hubnet.core.membership import (
    LOOK_APART,
    LOOKS,
    ON_THE_WAY,
    HubEntry,
    Seen,
    Verdict,
    choose_hubs,
    judge_ended_link,
    judge_expired,
    look_again_after,
    lost_half,
    others_may_know_better,
    seen_by_all,
    too_many_silent,
    was_stopped,
)

LEASE = 10.0


def hub(number: int, renewed: float = 100.0) -> HubEntry:
    return HubEntry(generate_id(3010, f"10.0.0.{number}", "hubs"), f"10.0.0.{number}", 3010, bytes(16), renewed)


PEERS = [generate_id(port, "10.1.0.1", "render") for port in range(1, 301)]
HUBS = [hub(number) for number in range(1, 6)]


@given(st.integers(0, 4))
def test_when_a_hub_goes_only_its_own_peers_move(gone):
    left = [one for one in HUBS if one is not HUBS[gone]]
    for peer in PEERS:
        before, after = choose_hubs(peer, HUBS, LEASE), choose_hubs(peer, left, LEASE)
        assert after == [one for one in before if one is not HUBS[gone]]


@given(st.permutations(HUBS))
def test_the_order_of_the_list_does_not_matter(hubs):
    assert choose_hubs(PEERS[0], hubs, LEASE) == choose_hubs(PEERS[0], HUBS, LEASE)


def test_peers_spread_over_the_hubs():
    firsts = [choose_hubs(peer, HUBS, LEASE)[0] for peer in PEERS]
    assert all(30 <= firsts.count(one) <= 90 for one in HUBS)


@given(st.lists(st.floats(0, 1000), max_size=6))
def test_hubs_not_renewed_for_long_come_last_and_none_is_left_out(renewals):
    hubs = [hub(number, renewed) for number, renewed in enumerate(renewals)]
    order = choose_hubs(PEERS[0], hubs, LEASE)
    assert sorted(order) == sorted(hubs)
    stale = [one.renewed < max(renewals) - 2 * LEASE for one in order]
    assert stale == sorted(stale)


def test_no_hubs_give_no_order():
    assert choose_hubs(PEERS[0], [], LEASE) == []


@pytest.mark.parametrize(
    ("seen", "looks", "verdict"),
    [
        (Seen.ALIVE, 1, Verdict.KEEP),
        (Seen.SILENT, 1, Verdict.LOOK_AGAIN),
        (Seen.SILENT, LOOKS, Verdict.KEEP),
        (Seen.REFUSED, 1, Verdict.GONE),
        (Seen.ANOTHER, 1, Verdict.GONE),
        (Seen.IMPOSTOR, 1, Verdict.LOOK_AGAIN),
        (Seen.IMPOSTOR, LOOKS, Verdict.GONE),
        (Seen.BROKEN_OFF, 1, Verdict.LOOK_AGAIN),
        (Seen.BROKEN_OFF, LOOKS, Verdict.GONE),
        (Seen.UNANSWERED, 1, Verdict.LOOK_AGAIN),
        (Seen.UNANSWERED, LOOKS - 1, Verdict.LOOK_AGAIN),
        (Seen.UNANSWERED, LOOKS, Verdict.GONE),
    ],
)
def test_what_a_dial_back_says_after_a_link_has_ended(seen, looks, verdict):
    said = judge_ended_link(seen, looks=looks, reachable=True, renewed_elsewhere=False, cut_off=False)
    assert said is verdict


@pytest.mark.parametrize("seen", Seen)
@pytest.mark.parametrize("why", ["renewed_elsewhere", "unreachable"])
def test_a_peer_is_kept_when_the_dial_back_proves_nothing(seen, why):
    said = judge_ended_link(
        seen, looks=LOOKS, reachable=why != "unreachable", renewed_elsewhere=why == "renewed_elsewhere", cut_off=False
    )
    assert said is Verdict.KEEP


def test_a_hub_that_is_cut_off_itself_says_nothing_of_those_who_do_not_answer():
    """Where somebody answers for the machine, the hub is not cut off from it."""
    for seen in Seen:
        said = judge_ended_link(seen, looks=LOOKS, reachable=True, renewed_elsewhere=False, cut_off=True)
        gone = seen in {Seen.REFUSED, Seen.ANOTHER, Seen.IMPOSTOR, Seen.BROKEN_OFF}  # somebody answered from there
        assert said is (Verdict.GONE if gone else Verdict.KEEP)


def test_what_a_dial_back_says_after_a_lease_has_ended():
    for seen, reachable, late in product(Seen, (True, False), (False, True)):
        said = judge_expired(seen, silent_for=3600.0 if late else 3599.0, suspect_limit=3600.0, reachable=reachable)
        if seen is Seen.ALIVE:
            assert said is Verdict.KEEP
        elif seen is Seen.SILENT and reachable and not late:
            assert said is Verdict.LOOK_AGAIN
        else:
            assert said is Verdict.GONE


@pytest.mark.parametrize("seen", Seen)
def test_whom_nobody_could_ever_dial_is_not_judged_by_a_hub_that_has_just_come_back(seen):
    said = judge_expired(seen, silent_for=0.0, suspect_limit=3600.0, reachable=False, settled=False)
    assert said is (Verdict.KEEP if seen is Seen.ALIVE else Verdict.LOOK_AGAIN)
    settled = judge_expired(seen, silent_for=0.0, suspect_limit=3600.0, reachable=False, settled=True)
    assert settled is (Verdict.KEEP if seen is Seen.ALIVE else Verdict.GONE)


@pytest.mark.parametrize(("between", "stopped"), [(1.0, False), (3.0, False), (3.1, True), (600.0, True)])
def test_a_hub_that_slept_through_its_ticks_knows_it(between, stopped):
    assert was_stopped(between, 1.0) is stopped


@pytest.mark.parametrize(
    ("ended", "members", "expected"),
    [
        (0, 10, False),
        (1, 10, False),
        (4, 10, False),
        (5, 10, True),
        (10, 10, True),
        (3, 3, False),
        (1, 1, False),
        (4, 4, True),
    ],
)
def test_a_hub_that_lost_half_of_its_links_within_a_second_is_cut_off_itself(ended, members, expected):
    """Members are counted as they were before, and the others end within a second of the link in question."""
    assert lost_half([99.5] * ended + [98.0] * 20, members, 100.0) is expected
    assert lost_half([100.9] * ended + [102.0] * 20, members, 100.0) is expected


@pytest.mark.parametrize(
    ("silent", "records", "expected"),
    [(0, 0, False), (3, 3, False), (4, 4, True), (4, 8, True), (4, 9, False), (50, 100, True)],
)
def test_a_hub_doubts_itself_before_it_doubts_half_of_the_net(silent, records, expected):
    assert too_many_silent([LEASE] * silent, records, LEASE) is expected
    assert not too_many_silent([2 * LEASE] * silent, records, LEASE)  # by then it knows


def test_all_looks_are_over_five_seconds_after_a_machine_vanished() -> None:
    """The kernel gives up its link 3.4 s after that at the latest, where words were under way (measured)."""
    assert 3.4 + LOOKS * LOOK_APART < 4.9
    assert 3.4 + LOOK_APART + LOOK_APART + ON_THE_WAY < 5.0  # other hubs are asked after the first look


@given(st.lists(st.sampled_from(Seen), min_size=1, max_size=5))
def test_who_is_reached_by_one_hub_is_kept_whatever_the_others_see(seen):
    said = judge_ended_link(seen_by_all(seen), looks=LOOKS, reachable=True, renewed_elsewhere=False, cut_off=False)
    assert (said is Verdict.KEEP) == bool({Seen.ALIVE, Seen.SILENT} & set(seen))
    assert seen_by_all(seen) == seen_by_all(seen[::-1])
    assert (seen_by_all(seen) is Seen.UNANSWERED) == (set(seen) == {Seen.UNANSWERED})


@given(st.sampled_from(Seen), st.booleans())
def test_nobody_whose_lease_has_ended_is_gone_by_one_look_before_the_others_were_asked(seen, reachable):
    said = judge_expired(seen, silent_for=0.0, suspect_limit=3600.0, reachable=reachable)
    assert others_may_know_better(seen, reachable=reachable) == (said is Verdict.GONE)


def test_who_could_not_be_reached_is_looked_at_again_soon_then_ever_more_rarely_and_for_good():
    assert [look_again_after(looks) for looks in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    assert look_again_after(10_000) == 60

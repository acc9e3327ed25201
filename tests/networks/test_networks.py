"""Machines vanish, networks are cut and heal, packets are lost, a peer does not read: each in a namespace of its own.

What happens is asserted here, and never how long it took: ``python -m benchmarks.storm`` measures that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks import cuts, faults
from tests.networks.farm import Farm, Seen
from tests.networks.machines import machines


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One for all of them: each mends what it broke."""
    with machines(tmp_path_factory.mktemp("net")) as net:
        yield Farm(net)


def held(seen: Seen) -> None:
    assert not any(seen.broken.values()), seen


def test_who_waits_for_a_machine_that_vanishes_is_told_and_all_learn_that_it_is_gone(farm: Farm) -> None:
    held(faults.vanish_idle(farm))


def test_who_sends_to_a_machine_that_vanishes_is_told_and_all_learn_that_it_is_gone(farm: Farm) -> None:
    held(faults.vanish_in_flight(farm))


def test_a_worker_cut_off_from_the_hub_alone_goes_on_with_those_it_knows_and_is_back_when_it_heals(farm: Farm) -> None:
    held(cuts.cut_worker_and_hub(farm, away=0))


def test_a_hub_that_hears_nothing_of_a_worker_which_hears_it_lists_it_again_when_it_heals(farm: Farm) -> None:
    held(cuts.cut_one_way(farm, away=0))


def test_a_worker_that_hears_nothing_of_the_hub_which_hears_it_goes_on_with_others_and_is_listed_when_it_heals(
    farm: Farm,
) -> None:
    held(cuts.cut_other_way(farm, away=0))


def test_who_does_not_hear_the_peer_that_it_calls_is_told_and_both_call_again_when_it_heals(farm: Farm) -> None:
    held(cuts.cut_caller_deaf(farm, away=0))


def test_who_calls_a_peer_that_does_not_hear_it_is_told_and_both_call_again_when_it_heals(farm: Farm) -> None:
    held(cuts.cut_called_deaf(farm, away=0))


def test_workers_cut_off_from_each_other_stay_listed_are_told_and_call_again_when_it_heals(farm: Farm) -> None:
    held(cuts.cut_workers(farm, away=0))


def test_a_name_that_no_server_tells_keeps_a_call_no_longer_than_its_limit_and_others_not_at_all(farm: Farm) -> None:
    held(faults.no_name_server(farm))


def test_nobody_is_declared_gone_for_lost_packets(farm: Farm) -> None:
    held(faults.loss(farm, seconds=4))


def test_a_peer_that_stops_reading_in_the_middle_of_an_argument_gets_all_of_it(farm: Farm) -> None:
    held(faults.slow_reader(farm, seconds=4))

"""A clock that jumps by an hour on one machine of a net: nothing expires early or late; whoever ends is gone at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks import faults
from tests.networks.farm import Farm
from tests.networks.machines import machines

LEASE = 0.6
HOUR = 3600


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with machines(tmp_path_factory.mktemp("net"), clocks=True) as net:
        yield Farm(net, HUBNET_LEASE=str(LEASE))


def test_the_clock_of_a_machine_can_be_moved(farm: Farm) -> None:
    """Else the others would show nothing: of a process, and of Redis."""
    farm.net.store.set_clock(HOUR)
    farm.places["victim"].set_clock(-HOUR)
    there, here, redis = (
        farm.victim.ask("time.time()"),
        farm.caller.ask("time.time()"),
        float(farm.net.admin("TIME")[0]),
    )
    farm.net.store.set_clock(0)
    farm.places["victim"].set_clock(0)
    assert there == pytest.approx(here - HOUR, abs=60)
    assert redis == pytest.approx(here + HOUR, abs=60)


@pytest.mark.parametrize(
    ("place", "ahead"), [("hub", HOUR), ("victim", HOUR), ("redis", HOUR), ("redis", -HOUR)],
    ids=["the hub's, ahead", "a worker's, ahead", "that of Redis, ahead", "that of Redis, back"],
)  # fmt: skip
def test_an_hour_more_or_less_on_one_machine_lets_nothing_expire(farm: Farm, place: str, ahead: int) -> None:
    seen = faults.clock(farm, place, ahead, seconds=2 * LEASE)
    assert not any(seen.broken.values()), seen

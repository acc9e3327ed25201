"""The store as threads of one hub share it: a failure of one is not the failure of another."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from hubnet import scripts
from hubnet.broker import Broker
from hubnet.core.channels import Names
from hubnet.embedded import EmbeddedServer
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable
from hubnet.scripts import RedisStore
from tests.waiting import eventually


@pytest.fixture
def store(server: EmbeddedServer, admin: redis.Redis) -> Iterator[RedisStore]:
    made = RedisStore(Broker(Settings(redis_url=server.url)), Names("default"))
    yield made
    made.close()


def _fail(client: redis.Redis) -> None:
    raise redis.ConnectionError("on purpose")


def test_a_thread_whose_connection_broke_takes_nothing_from_one_that_waits_for_its_answer(store, admin):
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(store._do(lambda client: client.blpop(["list"])))
        except Exception as error:
            answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    eventually(lambda: admin.info("clients")["blocked_clients"] == 1)
    with pytest.raises(BrokerUnavailable):
        store._do(_fail)
    assert store.now() > 0  # by a client of its own
    admin.rpush("list", "answer")
    asking.join()
    assert answers == [(b"list", b"answer")]
    store.close()
    eventually(lambda: admin.info("clients")["connected_clients"] == 1)  # nothing was left open: this is ours


def test_what_is_closed_while_it_is_asked_is_closed_after_its_answer(store, admin):
    held, go_on = threading.Event(), threading.Event()

    def ask() -> None:
        def work(client: redis.Redis) -> None:
            client.ping()
            held.set()
            go_on.wait()
            client.ping()

        store._do(work)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    held.wait()
    store.close()
    assert admin.info("clients")["connected_clients"] == 2
    go_on.set()
    asking.join()
    eventually(lambda: admin.info("clients")["connected_clients"] == 1)


def test_however_many_ask_at_once_few_connections_are_open(store, admin):
    """A farm that starts has hundreds of peers register at the same time."""
    go_on, begun, answers = threading.Event(), threading.Barrier(16 + 1), []

    def ask() -> None:
        def work(client: redis.Redis) -> None:
            if not go_on.is_set():
                begun.wait()
                go_on.wait()
            answers.append(client.ping())

        store._do(work)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(40)]
    for thread in threads:
        thread.start()
    begun.wait()
    go_on.set()
    for thread in threads:
        thread.join()
    assert answers == [True] * 40
    assert admin.info("clients")["connected_clients"] - 1 <= 16


def test_who_waits_for_a_turn_that_does_not_come_is_told_so(store, monkeypatch):
    monkeypatch.setattr(scripts, "ANSWER_LIMIT", 0.05)
    for _ in range(16):
        assert store._places.acquire(0)
    with pytest.raises(BrokerUnavailable, match="is slow"):
        store.now()
    store._places.release()
    assert store.now() > 0


def test_turns_come_in_the_order_of_those_who_wait():
    """Whoever gives one back and asks again does not overtake those that wait already."""
    turns, order = scripts._FairSemaphore(1), []
    assert turns.acquire(0)

    def ask(number: int) -> None:
        assert turns.acquire(20)
        order.append(number)
        turns.release()

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=ask, args=[number], daemon=True))
        threads[-1].start()
        eventually(lambda number=number: len(turns._waiting) == number + 1)
    turns.release()
    assert turns.acquire(20)
    for thread in threads:
        thread.join()
    assert order == list(range(8))
    turns.release()
    assert turns._free == 1

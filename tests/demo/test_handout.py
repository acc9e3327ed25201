"""Who gets which frame: the hand-out alone, without a net."""

from __future__ import annotations

import threading

import pytest

from hubnet.demo.handout import FilmFailed, Handout

DEADLINE = 10.0


def test_frames_are_handed_out_in_order_and_each_once() -> None:
    handout = Handout([1, 2, 3], ["a", "b"])
    taken = [handout.take("a"), handout.take("b")]
    handout.finished("a")
    taken.append(handout.take("a"))
    handout.finished("b")
    handout.finished("a")
    assert taken == [1, 2, 3]
    assert (handout.take("a"), handout.take("b"), handout.done) == (None, None, 3)
    handout.wait()


def test_the_frame_of_a_lost_worker_is_the_next_to_be_handed_out() -> None:
    handout = Handout([1, 2, 3], ["a", "b"])
    handout.take("a")
    handout.take("b")
    handout.lost("a")
    handout.finished("b")
    assert handout.take("b") == 1


def test_a_worker_with_nothing_to_do_waits_for_a_frame_that_may_come_back() -> None:
    handout = Handout([1], ["a", "b"])
    handout.take("a")
    got: list[int | None] = []
    waiting = threading.Thread(target=lambda: got.append(handout.take("b")), daemon=True)
    waiting.start()
    handout.lost("a")
    waiting.join(DEADLINE)
    assert got == [1]


def test_a_worker_that_waits_is_let_go_when_the_last_frame_is_there() -> None:
    handout = Handout([1], ["a", "b"])
    handout.take("a")
    got: list[int | None] = []
    waiting = threading.Thread(target=lambda: got.append(handout.take("b")), daemon=True)
    waiting.start()
    handout.finished("a")
    waiting.join(DEADLINE)
    assert got == [None]


def test_a_frame_that_failed_goes_to_another_worker() -> None:
    handout = Handout([1, 2], ["a", "b"])
    handout.take("a")
    handout.failed("a", "no memory")
    assert handout.take("a") == 2
    assert handout.take("b") == 1


def test_the_only_worker_left_tries_again_what_failed_on_it() -> None:
    handout = Handout([1], ["a", "b"])
    handout.take("a")
    handout.failed("a", "no memory")
    handout.lost("b")
    assert handout.take("a") == 1


def test_a_frame_that_failed_twice_fails_the_film_with_both_names_and_the_reason() -> None:
    handout = Handout([1, 2], ["a", "b"])
    for worker in ("a", "b"):
        frame = handout.take(worker)
        if frame == 2:
            handout.finished(worker)
            frame = handout.take(worker)
        assert frame == 1
        handout.failed(worker, "no memory")
    assert handout.take("a") is None
    with pytest.raises(FilmFailed, match="frame 1 failed on a, and again on b: no memory"):
        handout.wait()


def test_without_workers_the_film_fails_and_says_how_much_of_it_is_there() -> None:
    handout = Handout([1, 2, 3], ["a", "b"])
    handout.take("a")
    handout.finished("a")
    handout.take("a")
    handout.lost("a")
    handout.lost("b")
    with pytest.raises(FilmFailed, match="all workers are lost; 1 of 3 frames are there"):
        handout.wait()


def test_losing_a_worker_after_the_last_frame_does_no_harm() -> None:
    handout = Handout([1], ["a"])
    handout.take("a")
    handout.finished("a")
    handout.lost("a")
    handout.wait()


def test_what_went_wrong_in_a_thread_is_raised_where_the_film_is_waited_for() -> None:
    handout = Handout([1], ["a"])
    handout.take("a")
    handout.stop(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        handout.wait()
    assert handout.take("a") is None


def test_many_workers_that_come_and_go_render_every_frame_once() -> None:
    names = [f"worker-{number}" for number in range(8)]
    handout = Handout(range(200), names)
    done: list[int] = []

    def work(name: str, frames_to_live: int) -> None:
        while (frame := handout.take(name)) is not None:
            if frames_to_live == 0:
                handout.lost(name)
                return
            frames_to_live -= 1
            done.append(frame)
            handout.finished(name)

    threads = [threading.Thread(target=work, args=(name, 10 if n else -1), daemon=True) for n, name in enumerate(names)]
    for thread in threads:
        thread.start()
    handout.wait()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(done) == list(range(200))

"""``hubnet listen`` and ``hubnet emit``."""

from __future__ import annotations

import json
import time

from tests.conftest import Net, Process


def _listen(net: Net, *words: str) -> Process:
    return net.run("python", "-m", "hubnet", "listen", *words).wait_for("listening for")


def test_what_is_emitted_is_heard(net: Net) -> None:
    net.hub()
    listening = _listen(net, "done", "--count", "1")

    done = net.cli("emit", "done", "12", "shot one", 'x={"a": [1]}')

    assert done.returncode == 0, done.stderr
    assert listening.wait() == 0
    assert listening.out.endswith(" (12, 'shot one', x={'a': [1]})\n")


def test_json_is_one_object_a_line(net: Net) -> None:
    net.hub()
    listening = _listen(net, "done", "--count", "2", "--json")

    for number in "12":
        assert net.cli("emit", "done", number).returncode == 0

    assert listening.wait() == 0
    lines = [json.loads(line) for line in listening.out.splitlines()]
    assert [line["args"] for line in lines] == [[1], [2]]
    assert lines[0]["event"] == "done"
    assert lines[0]["kwargs"] == {}
    assert "T" in lines[0]["time"]


def test_only_the_groups_that_were_named_are_heard(net: Net) -> None:
    net.hub()
    listening = _listen(net, "done", "--group", "render", "--count", "1")

    net.cli("emit", "done", "paint", "--group", "paint")
    net.cli("emit", "done", "render", "--group", "render")

    assert listening.wait() == 0
    assert "('render')" in listening.out


def test_an_event_too_large_to_be_shown_is_told_and_the_next_ones_are_heard(net: Net) -> None:
    net.hub()
    code = (
        "import hubnet\n@hubnet.event('done')\ndef done(within):\n    return (within,), {}\n"
        "within = []\nfor _ in range(23):\n    within = [within, within]\n"
        "done(within), done(12)\nassert hubnet.Peer().ready().publisher.flush(10)"
    )
    for form in ([], ["--json"]):
        listening = _listen(net, "done", "--count", "2", *form)

        assert net.run("python", "-c", code).wait() == 0

        assert listening.wait(120) == 0  # two million items are looked at first
        assert listening.out.count("\n") == 1
        assert "12" in listening.out
        assert "an event 'done' cannot be shown: written out this is more than" in listening.err


def test_values_that_json_has_no_word_for_come_by_their_repr(net: Net) -> None:
    net.hub()
    listening = _listen(net, "done", "--count", "1", "--json")
    code = (
        "import hubnet\n@hubnet.event('done')\ndef done():\n    return ({1}, 'a\\x1b[31m'), {'n': float('nan')}\n"
        "done()\nassert hubnet.Peer().ready().publisher.flush(10)"
    )

    assert net.run("python", "-c", code).wait() == 0
    assert listening.wait() == 0
    assert json.loads(listening.out)["args"] == ["{1}", "a\x1b[31m"]
    assert "\x1b" not in listening.out


def test_hearing_too_few_in_time_is_exit_code_4_and_without_a_count_it_is_the_end(net: Net) -> None:
    net.hub()

    counted = net.cli("listen", "done", "--count", "2", "--timeout", "4")
    timed = net.cli("listen", "done", "--timeout", "4")

    assert counted.returncode == 4
    assert "heard 0 of 2 events" in counted.stderr
    assert (timed.returncode, timed.stdout) == (0, "")


def test_an_event_name_with_a_star_is_exit_code_2(net: Net) -> None:
    for command in ("emit", "listen"):
        done = net.cli(command, "render.*")

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_emitting_without_redis_is_exit_code_3_in_time(net: Net) -> None:
    begin = time.monotonic()
    done = net.cli("emit", "done", "--timeout", "0.5")

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - begin < 6


def test_listening_without_redis_is_exit_code_3_in_time(net: Net) -> None:
    done = net.cli("listen", "done", "--timeout", "0.5")

    assert done.returncode == 3
    assert "Traceback" not in done.stderr

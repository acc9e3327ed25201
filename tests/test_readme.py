"""The README's quick start, run as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Net
from tests.waiting import eventually

README = (Path(__file__).parents[1] / "README.md").read_text()


_SAY_WHEN_LIVE = """
hubnet.wait_for(1, groups="farm")
while not all(hubnet.Peer().ready().subscriber.is_live(one) for one in hubnet.Peer().subscriptions):
    time.sleep(0.01)
print("live")
"""


def printed(name: str) -> str:
    """The Python block behind a file's marker in the README."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no block for {name}"
    return found[1]


def test_the_two_scripts_of_the_quick_start_meet_as_the_readme_says(net: Net) -> None:
    for name in ("worker.py", "caller.py"):
        (net.folder / name).write_text(printed(name))
    assert "HUBNET_IS_HUB=1 HUBNET_GROUP=farm .venv/bin/python worker.py" in README
    worker = net.run("python", "worker.py", HUBNET_IS_HUB="1", HUBNET_GROUP="farm")
    caller = net.run("python", "caller.py")
    assert caller.wait(60) == 0, caller.report()
    assert caller.out == "frame 12 done in farm\n"
    assert "# second terminal: frame 12 done in farm" in README
    assert worker.stop() == 0


def test_any_process_hears_the_events_as_the_readme_says(net: Net) -> None:
    found = re.search(r"any process hears them with a decorator:\n\n```python\n(.*?)```", README, re.DOTALL)
    assert found
    for name in ("worker.py", "caller.py"):
        (net.folder / name).write_text(printed(name))
    net.run("python", "worker.py", HUBNET_IS_HUB="1", HUBNET_GROUP="farm")
    ears = net.run("python", "-uc", f"import hubnet, time\n{found[1]}{_SAY_WHEN_LIVE}hubnet.serve()").wait_for("live")
    assert net.run("python", "caller.py").wait(60) == 0
    eventually(lambda: ears.out == "live\nrendered 12\n")


@pytest.mark.parametrize("name", ["worker.py", "caller.py"])
def test_the_example_is_what_the_readme_prints(name: str) -> None:
    assert (Path(__file__).parents[1] / "examples" / "quickstart" / name).read_text() == printed(name)


@pytest.mark.parametrize("marker", ["demo command", "test command"])
def test_each_of_the_two_commands_is_one_line_that_sets_up_and_runs(marker: str) -> None:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```\n<!-- end -->", README, re.DOTALL)
    assert found
    assert len(found[1].splitlines()) == 1
    assert found[1].startswith("python3 -m venv .venv && .venv/bin/pip install")

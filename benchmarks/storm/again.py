"""A plugin for pytest: each test runs N times (``--again``), and how it ended is told as a line of JSON (``--tell``)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

_NUMBER = "which_time"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often, and to which open file."""
    parser.addoption("--again", type=int, default=1)
    parser.addoption("--tell", type=int)


@pytest.fixture
def which_time(request: pytest.FixtureRequest) -> int:
    """The number of this run of a test."""
    number: int = request.param
    return number


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test is as many."""
    metafunc.fixturenames.append(_NUMBER)
    metafunc.parametrize(_NUMBER, range(metafunc.config.getoption("--again")), indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What passed, did not, or was not tried at all."""
    report: pytest.TestReport = yield  # type: ignore[assignment,misc]
    if report.when == "call" or not report.passed:
        broken = (
            ""
            if report.passed
            else f"{report.outcome} in {report.when}: {call.excinfo.exconly() if call.excinfo else ''}"
        )
        line = {"test": item.nodeid.partition("[")[0], "broken": broken[:300]}
        os.write(item.config.getoption("--tell"), json.dumps(line).encode() + b"\n")
    return report  # type: ignore[return-value]

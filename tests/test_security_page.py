"""The page on security names tests, settings and constants: they exist, and are as it says."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from hubnet.environment import _VARIABLES, Settings

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`([†‡]?)", PAGE)))
FAILING, PARTLY, PASSING = "†", "‡", ""
UNITS = {"": 1, "s": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20}
FIELDS = {variable: field for field, (variable, _) in _VARIABLES.items()}


def section(title: str) -> str:
    """What stands under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column is called so."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.strip("| ").split(" | ")] for line in table.splitlines()]


def words(node: ast.AST) -> set[str]:
    """Names and attributes that stand in a piece of code."""
    return {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}


@cache
def stands_in(file: str) -> dict[str, str]:
    """The tests of a file, and whether they are expected to fail, by themselves or in some of their cases."""
    functions = [one for one in ast.parse((TESTS / file).read_text()).body if isinstance(one, ast.FunctionDef)]
    marking = {"xfail"}
    for _ in functions:  # helpers that call helpers
        marking |= {one.name for one in functions if not one.name.startswith("test_") and words(one) & marking}
    found = {}
    for one in functions:
        marks = [mark for mark in one.decorator_list if words(mark) & marking]
        whole = any(words(mark.func if isinstance(mark, ast.Call) else mark) & marking for mark in marks)
        found[one.name] = FAILING if whole else PARTLY if marks else PASSING
    return found


def test_the_page_names_tests_by_whole_words_and_many_of_them() -> None:
    assert PAGE.count("::") == len(re.findall(r"`[\w/]+\.py::test_\w+`", PAGE))
    assert len(NAMED) > 80


@pytest.mark.parametrize(("file", "name", "sign"), NAMED, ids=[name for _, name, _ in NAMED])
def test_each_test_that_the_page_names_exists_and_fails_only_where_the_page_says_so(
    file: str, name: str, sign: str
) -> None:
    assert (TESTS / file).is_file(), f"tests/{file} is named, and does not exist"
    assert name in stands_in(file), f"tests/{file} has no such test"
    assert stands_in(file)[name] == sign, "the page says otherwise whether it is expected to fail"


@pytest.mark.parametrize("file", sorted(path.name for path in (TESTS / "security").glob("test_*.py")))
def test_no_attack_that_is_expected_to_succeed_is_kept_from_the_page(file: str) -> None:
    failing = {name for name, sign in stands_in(f"security/{file}").items() if sign != PASSING}
    assert failing <= {name for where, name, _ in NAMED if where == f"security/{file}"}


def test_every_position_says_what_why_not_more_and_where_it_is_shown() -> None:
    positions = rows("attacker's position")
    assert len(positions) >= 11
    for who, can, limit, shown in positions:
        assert all((who, can, limit)), who
        assert "::" in shown, who


def test_every_setting_that_the_page_names_exists() -> None:
    assert set(re.findall(r"HUBNET_[A-Z_]+", PAGE)) <= set(FIELDS)


@pytest.mark.parametrize(("variable", "value"), sorted(set(re.findall(r"(HUBNET_[A-Z_]+)=([^`\s]+)", PAGE))))
def test_every_value_that_the_page_gives_to_a_setting_is_allowed(variable: str, value: str) -> None:
    _VARIABLES[FIELDS[variable]][1](value)


def test_the_table_of_limits_has_all_of_them() -> None:
    limits = {variable for variable in FIELDS if variable.endswith("_LIMIT")}
    assert limits <= {row[0] for row in rows("setting")}


@pytest.mark.parametrize(("variable", "default"), [row[:2] for row in rows("setting")])
def test_each_setting_in_the_table_has_that_default(variable: str, default: str) -> None:
    field = FIELDS[variable]
    assert _VARIABLES[field][1](default) == Settings._field_defaults[field]


@pytest.mark.parametrize(("constant", "value"), [row[:2] for row in rows("constant")])
def test_each_constant_in_the_table_has_that_value(constant: str, value: str) -> None:
    room, _, name = constant.rpartition(".")
    number, _, unit = value.partition(" ")
    assert getattr(import_module(f"hubnet.{room}"), name) == int(number) * UNITS[unit]


def test_every_attack_of_the_list_is_there_once_with_a_test_or_the_word_that_there_is_none() -> None:
    attacks = re.findall(r"^(\d+)\. (.+)$", section("Attacks tried"), re.MULTILINE)
    assert [int(number) for number, _ in attacks] == list(range(1, 45))
    for number, line in attacks:
        what, _, shown = line.partition(": ")
        assert what, number
        assert shown.endswith("not shown") or "::" in shown, number


def test_every_page_that_this_one_leads_to_exists_and_the_readme_leads_here() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (TESTS.parent / "docs" / target).exists(), target
    assert "(docs/security.md)" in (TESTS.parent / "README.md").read_text()


def test_the_commands_on_the_page_exist() -> None:
    from hubnet.cli.secrets import secret
    from hubnet.cli.tls import tls

    for group, steps in re.findall(r"`hubnet (secret|tls) ([a-z ]+?)(?:`| >| [a-z]+-?\d)", PAGE):
        command = {"secret": secret, "tls": tls}[group]
        for step in steps.split():
            command = command.commands[step]  # type: ignore[assignment]

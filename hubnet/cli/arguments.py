"""Arguments of calls and events as they are typed: JSON where it is JSON, otherwise text; ``name=value`` by name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

TAKES_ANYTHING = {"ignore_unknown_options": True}
"""For click: ``-5`` is an argument, no option."""

_DECADE = 10 * 365 * 86400
_TAKEN = ("peer", "timeout", "time_out")


def seconds(value: str) -> float:
    """For click: a number of seconds, more than none.

    Raises:
        BadParameter: it is none.
    """
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= _DECADE:
        raise click.BadParameter(f"{value!r} is no number of seconds above 0")
    return number


def typed(words: Iterable[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments out of words.

    Raises:
        UsageError: a keyword comes twice, or is one that hubnet takes for itself.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            args.append(_value(word))
            continue
        if name in kwargs:
            raise click.UsageError(f"{name}= is given twice")
        if name in _TAKEN:
            raise click.UsageError(f"{name}= is no argument of a function: hubnet takes it for itself")
        kwargs[name] = _value(text)
    return tuple(args), kwargs


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _no_json(word: str) -> Any:
    raise ValueError(word)  # NaN and Infinity are words, until somebody says otherwise

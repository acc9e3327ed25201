"""Labels: what a peer says of itself by names of its user's, for others to choose by.

A label is a plain value or a list of them. They travel in the record and in each greeting, so all of a peer's labels are small.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from hubnet.core.identity import came, text

MOST_BYTES = 4096
Scalar = str | int | float | bool
Label = Scalar | list[Scalar]
Wanted = tuple[tuple[str, frozenset[tuple[bool, Scalar]]], ...]
"""Names, and for each the values of which one must be there; True is not 1."""
_RULE = "a str, a number, True, False, or a list of these"


def changed(labels: Mapping[str, Label], news: Mapping[str, Any]) -> dict[str, Label]:
    """The labels after ``describe(**news)``.

    Raises:
        TypeError, ValueError: naming the label.
    """
    new = {**labels, **{name: None if value is None else _label(name, value) for name, value in news.items()}}
    left = {name: value for name, value in new.items() if value is not None}
    if (size := len(json.dumps(left))) > MOST_BYTES:
        names = ", ".join(sorted(left))
        raise ValueError(f"describe({names:.200}): {size} bytes; at most {MOST_BYTES} for all labels of a peer")
    return left


def wanted(wish: Any, rule: str) -> Wanted:
    """What labels a filter asks for: ``{"role": "lead", "tags": ["optix", "cuda"]}``, a list for any of its values.

    Raises:
        TypeError, ValueError: it begins with the rule.
    """
    if not isinstance(wish, dict) or not wish:
        raise TypeError(f"{rule} takes a dict of labels and their values, not {came(wish)}")
    found = []
    for name, value in wish.items():
        label = _label(text(name, f"{rule}: a label's name is a str"), value, rule)
        found.append((name, frozenset(map(_told_apart, _all_of(label)))))
    return tuple(found)


def are_there(wish: Wanted, labels: Any) -> bool:
    """Whether labels, as their peer tells them, have for each name one of the values."""
    return isinstance(labels, dict) and all(_has(labels.get(name), values) for name, values in wish)


def _has(label: Any, values: frozenset[tuple[bool, Scalar]]) -> bool:
    return any(_is_scalar(one) and _told_apart(one) in values for one in _all_of(label))


def _all_of(label: Any) -> list[Any]:
    return label if isinstance(label, list) else [label]


def _told_apart(value: Scalar) -> tuple[bool, Scalar]:
    return isinstance(value, bool), value


def _label(name: str, value: Any, where: str = "") -> Label:
    where = where or f"describe({name:.100}=…)"
    many = isinstance(value, (list, tuple, set, frozenset))
    ones = list(value) if many else [value]
    for one in ones:
        if not _is_scalar(one):
            raise TypeError(f"{where}: {name!r:.100} is {_RULE}, not {came(value)}")
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{where}: {name!r:.100} is a finite number, not {came(value)}")
        if isinstance(one, int) and one.bit_length() > 64:
            raise ValueError(f"{where}: {name!r:.100} is a number of at most 64 bits, not {came(value)}")
        if isinstance(one, str):
            text(one, f"{where}: {name!r:.100} is text")
    return [_plain(one) for one in ones] if many else _plain(value)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float))  # a bool is an int


def _plain(value: Any) -> Scalar:
    """Without what a subclass adds."""
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    raise TypeError(_RULE)

"""What is asked for again and again is worked out once; what is asked for no more is forgotten, however much came before it.

Peers come and go for years, and each has an id, and says who it is. A bound on how many are kept would fit either a large
fleet or a small process that has seen many; this one follows those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Question = TypeVar("_Question", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(Generic[_Question, _Value]):
    """A function's results, as long as they are asked for.

    Args:
        work_out: the function; what it raises is not kept.
        span: a result that was not asked for within so many questions is forgotten before there were as many again.
    """

    def __init__(self, work_out: Callable[[_Question], _Value], span: int = 10_000) -> None:
        self._work_out = work_out
        self._span = span
        self._asked = 0
        self._now: dict[_Question, _Value] = {}
        self._before: dict[_Question, _Value] = {}

    def __call__(self, question: _Question) -> _Value:
        """The result for this one."""
        self._asked += 1
        if self._asked > self._span:
            self._asked, self._now, self._before = 1, {}, self._now
        try:
            return self._now[question]
        except KeyError:
            pass
        before = self._before  # another thread may put another one in its place meanwhile
        value = before[question] if question in before else self._work_out(question)
        self._now[question] = value
        return value


one_copy = Recent[str, str](str)
"""Of what many peers say alike: host, group, machine. ``sys.intern`` would keep it for good on some Pythons."""

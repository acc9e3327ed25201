"""Tables on standard output: as wide as the terminal, or one line a row where a program reads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubnet.cli.shown import shown

_PIPED_WIDTH = 10_000


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise  # noqa: PLE0704 - rich calls this while it handles the error, and would exit with 1


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns; no cell steers the terminal or is taken for markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    _Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)

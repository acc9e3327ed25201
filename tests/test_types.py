"""What a type checker says of connected functions."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

CODE = """
import hubnet

@hubnet.connect
def now(shot: str) -> int: return 1

@hubnet.connect("a tag", idempotent=True)
async def later(shot: str) -> int: return 1

@hubnet.connect
async def bare(shot: str) -> int: return 1

async def use() -> None:
    reveal_type(now("s"))
    reveal_type(now("s", peer="p", timeout=5))
    reveal_type(await later("s"))
    reveal_type(later("s", peer="p", timeout=5))
    reveal_type(await bare("s"))
    reveal_type(bare("s", peer="p"))
    now(5)
    later(5)
"""


def test_a_call_here_has_the_functions_own_type_and_one_with_peer_that_of_its_result(tmp_path: Path) -> None:
    file = tmp_path / "uses.py"
    file.write_text(CODE)
    said, _, _ = api.run(["--strict", "--no-incremental", "--hide-error-context", str(file)])
    assert re.findall(r'Revealed type is "(?:builtins\.)?(.*)"', said) == ["int"] * 6
    assert len(re.findall(r"No overload variant .* argument type \"int\"", said)) == 2, said

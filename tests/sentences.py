"""The reference's document taken apart, and the marks by which tests say which of its sentences they hold.

The document beside the tests is the printed text of a web page: headings, signatures, prose, lists of parameters and examples,
one below the other. Each of these but a heading is an item. What it prints twice below the same name (``net.connect`` is
``net.connect.connect``) is one item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

FOLDER = Path(__file__).parent / "api" / "reference"
DOCUMENT = FOLDER / "net-api-docs.txt"
SENTENCE, SIGNATURE, PARAMETER, RETURNS, EXAMPLE = "sentence", "signature", "parameter", "returns", "example"

# The rule for what needs no test: titles, paths of modules, and the words that only lead over to what stands below them.
_HEADING = re.compile(r"Submodules|Module contents|[\w.]+ (?:package|[Mm]odule)|Note|Instead|Parameters:|Returns:")
_LEADS_OVER = {"For example:"}

_SIGNATURE = re.compile(r"(?:class |exception )?([\w.]+)(?:\(.*\))?\[source\]|exception ([\w.]+)")
_LISTED = re.compile(r"(?:  • |Parameters:)(.+)")
_RETURNED = re.compile(r"Returns:(.+)")
_CODE = re.compile(r"[@#{}\]‘]|b’| {2}|\.\.\.|\w+ = |def |for \w+ in |\w+\(\w*\)$|\w+/$")
_SENTENCE_ENDS = re.compile(r"(?<=\.)\s+(?=[A-Z])")
Function = TypeVar("Function", bound=Callable[..., None])


class Item(NamedTuple):
    """One thing that the document says.

    Attributes:
        of: the last part of the name it stands below: "peers", "null_response", "handler".
        text: with its white space folded; an example's text is kept as printed.
        kind: SENTENCE, SIGNATURE, PARAMETER, RETURNS or EXAMPLE.
        lines: where the document prints it.
    """

    of: str
    text: str
    kind: str
    lines: tuple[int, ...]


class Claim(NamedTuple):
    """What a test says it holds.

    Attributes:
        text: of the item; for an example its name, the file's without the ending.
        of: the item's, where the document says the same of several names.
        differs: hubnet does it otherwise; the page of differences says how and why, the test shows it.
        example: whether it is one.
    """

    text: str
    of: str = ""
    differs: bool = False
    example: bool = False


def sentence(*texts: str, of: str = "") -> Callable[[Function], Function]:
    """This test shows that these sentences of the document hold."""
    return _claiming(Claim(folded(text), of) for text in texts)


def differs(*texts: str, of: str = "") -> Callable[[Function], Function]:
    """This test shows what hubnet does instead of these sentences; docs/reference-differences.md quotes them."""
    return _claiming(Claim(folded(text), of, differs=True) for text in texts)


def example(*names: str) -> Callable[[Function], Function]:
    """This test runs these examples of the document."""
    return _claiming(Claim(name, example=True) for name in names)


def _claiming(claims: Iterable[Claim]) -> Callable[[Function], Function]:
    made = list(claims)

    def mark(test: Function) -> Function:
        test.claims = [*made, *claims_of(test)]  # type: ignore[attr-defined]
        return test

    return mark


def claims_of(test: Callable[..., None]) -> list[Claim]:
    """What a test says it holds."""
    return list(getattr(test, "claims", ()))


def folded(text: str) -> str:
    """The text with its white space folded."""
    return " ".join(text.split())


def items(document: str) -> list[Item]:
    """All that the document says, each once, in the order of first print."""
    found: dict[tuple[str, str], Item] = {}
    for item in _printed(document):
        key = (item.of, item.text)
        before = found[key].lines if key in found else ()
        found[key] = item._replace(lines=(*before, *item.lines))
    examples: dict[str, Item] = {}
    for item in found.values():
        if item.kind == EXAMPLE:
            examples.setdefault(item.text, item)
    return [item for item in found.values() if item.kind != EXAMPLE or examples[item.text] is item]


def _printed(document: str) -> Iterator[Item]:
    """Item by item, as often as they are printed."""
    below, returns = "net", False
    for first, text in _parts(document):
        signature = _SIGNATURE.fullmatch(text)
        if signature:
            below, returns = (signature[1] or signature[2]).rpartition(".")[2], False
            yield Item(below, text.removesuffix("[source]"), SIGNATURE, (first,))
        elif _HEADING.fullmatch(text):
            returns = text == "Returns:"
            if text.startswith("net.") or text == "Module contents":
                below = "net" if text == "Module contents" else text.split()[0].rpartition(".")[2]
        elif listed := _LISTED.fullmatch(text):
            yield Item(below, folded(listed[1]), PARAMETER, (first,))
        elif (returned := _RETURNED.fullmatch(text)) or returns:
            yield Item(below, f"Returns: {folded(returned[1] if returned else text)}", RETURNS, (first,))
            returns = False
        elif _CODE.match(text):
            yield Item(below, text, EXAMPLE, (first,))
        else:
            for one in _SENTENCE_ENDS.split(folded(text)):
                if one not in _LEADS_OVER:
                    yield Item(below, one, SENTENCE, (first,))


def _parts(document: str) -> Iterator[tuple[int, str]]:
    """Headings, signatures, entries of lists, paragraphs and examples, each with the number of its first line.

    An example goes on over empty lines for as long as there is code.
    """
    part: list[str] = []
    first = 0
    for number, line in enumerate([*document.splitlines(), ""], 1):
        stands_alone = any(one.fullmatch(line) for one in (_SIGNATURE, _HEADING, _LISTED, _RETURNED))
        in_code = bool(part) and bool(_CODE.match(part[0])) and not stands_alone
        if in_code and (not line or _CODE.match(line)):
            part.append(line)
            continue
        if part and (in_code or stands_alone or not line or _CODE.match(line)):
            yield first, "\n".join(part).rstrip()
            part = []
        if stands_alone:
            yield number, line
        elif line:
            first = first if part else number
            part.append(line)
    if part:
        yield first, "\n".join(part).rstrip()

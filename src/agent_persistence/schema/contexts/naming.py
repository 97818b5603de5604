"""What records are called in a prompt, after the names of their tables. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import chain, product
from string import ascii_lowercase
from typing import Final

from agent_persistence.query.identifiers import is_identifier

_STAYS: Final = re.compile(r"(?:ss|us|is|news|series|species)$")
_ENDINGS: Final = ((re.compile(r"ies$"), "y"), (re.compile(r"(?<=ss|sh|ch)es$"), ""), (re.compile(r"xes$"), "x"))
_LONGEST: Final = 40
_NAME: Final = re.compile(r"\W+|_+")


def tag_of(table: str, taken: Collection[str]) -> str:
    """The singular of the table's name; where that is taken the name itself, with _ behind it as often as needed.

    Of a name that is no identifier its words remain, in lower case: `order_line` for "Order lines" and "OrderLines".
    """
    name = table if is_identifier(table) else _words(table)
    tag = singular(name)
    if tag in taken:
        tag = name
    while tag in taken:
        tag += "_"
    return tag


def singular(word: str) -> str:
    """The singular of an English plural, as far as its ending shows: `ticket`, `category`, `address`, `status`."""
    if _STAYS.search(word):
        return word
    for ending, replacement in _ENDINGS:
        if ending.search(word):
            return ending.sub(replacement, word)
    return word[:-1] if word.endswith("s") and len(word) > 1 else word


def prefix_of(tag: str, taken: Collection[str]) -> str:
    """The first letter of the tag that no other prefix is; after its letters, all letters, alone and in pairs."""
    letters = [letter for letter in tag if letter in ascii_lowercase]
    pairs = map("".join, product(ascii_lowercase, repeat=2))
    return next(prefix for prefix in chain(letters, ascii_lowercase, pairs) if prefix not in taken)


def attribute(column: str, taken: Iterable[str]) -> str:
    """The column's name as one that may stand beside a reference in every form of a prompt, and that is not taken."""
    name = _NAME.sub("_", column.lower()).strip("_") or "column"
    name = name if name[0].isalpha() and name.isascii() else f"column_{_ascii(name)}".rstrip("_")
    known = set(taken)
    while name in known:
        name += "_"
    return name


def relation_name(columns: Iterable[str], tag: str) -> str:
    """The name that a relation is shown under: the column without the `id` at its end, or the parent's tag."""
    only, *more = columns
    return tag if more else re.sub(r"(?:_(?:uuid|fk|key|no|code)|_?id)$", "", only) or tag


def _words(name: str) -> str:
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)
    joined = "_".join(words).lower()[:_LONGEST] or "record"
    return joined if joined[0].isalpha() else f"record_{joined}"


def _ascii(name: str) -> str:
    return "".join(c for c in name if c.isascii())

"""to_tsvector('simple', …): the words of a text in lower case, with their positions.

What PostgreSQL's default parser (wparser_def.c) takes for words, hyphenated words and numbers is followed. Refused is
what it may take for a host, an address, a path, a tag, an entity or a version number, and what it takes for letters in
some locales only: emoji, typographic quotes, combining marks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias

from agent_persistence.backends.memory.patterns import lowered
from agent_persistence.backends.memory.refusals import TwinCannotTellError

Vector: TypeAlias = Mapping[str, list[int]]
"""The positions of each lexeme, ascending, from 1."""

MAX_POSITION: Final = 16_383
"""MAXENTRYPOS in ts_type.h; what stands behind it has no position of its own."""
_MAX_LEXEME_BYTES: Final = 2_046
_MAX_TEXT: Final = 250_000
"""Characters; a tsvector of a longer text might exceed PostgreSQL's megabyte."""

_LETTER: Final = r"[^\W\d_]"
_WORD: Final = rf"(?>[0-9]*{_LETTER}[^\W_]*)"
_HYPHENATED: Final = rf"(?>{_WORD}(?:-{_WORD})+)"
_NUMBER: Final = r"(?>[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
_EXPONENT: Final = r"[0-9]+[eE][+-]?[0-9]"
_TOKEN: Final = re.compile(
    rf"""(?!{_EXPONENT}) (?P<hyphenated>{_HYPHENATED}) (?!-[0-9])
       | (?!{_EXPONENT}) (?!{_HYPHENATED}) (?P<word>{_WORD})
       | (?P<number>{_NUMBER}) (?!\w|\.[0-9])
       | (?P<blank>
             (?![+-][0-9])                                             # numbers before letters
             (?!(?<=[A-Za-z0-9_])\.[A-Za-z0-9_]|\./|(?<!\.)\.\.(?!\.))   # hosts, files, paths
             (?!/[A-Za-z0-9_.~]|~[A-Za-z0-9_/]|://)                    # paths, protocols
             (?!<[A-Za-z/!?:_]|&[#A-Za-z:_][\w:.#-]*;)                 # tags, entities
             [\W_])
       | (?P<refused>.)""",
    re.VERBOSE | re.DOTALL,
)
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def vector(text: str) -> Vector:
    """The lexemes of the text and where they stand."""
    found: dict[str, list[int]] = {}
    for position, lexeme in enumerate(lexemes(text), 1):
        found.setdefault(lexeme, []).append(position)
    return found


def lexemes(text: str) -> list[str]:
    """The lexemes in the order of their positions; a hyphenated word comes whole and then in parts."""
    _check_characters(text)
    found: list[str] = []
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "blank":
                continue
            case "refused":
                raise TwinCannotTellError("texts with hosts, addresses, paths, tags or version numbers")
            case "hyphenated":
                found += [token.group(), *token.group().split("-")]
            case _:
                found.append(token.group())
    if len(found) > MAX_POSITION or any(len(lexeme.encode()) > _MAX_LEXEME_BYTES for lexeme in found):
        raise TwinCannotTellError("texts or words this long")
    return [lowered(lexeme) for lexeme in found]


def _check_characters(text: str) -> None:
    if len(text) > _MAX_TEXT:
        raise TwinCannotTellError("texts this long")
    if not text.isascii() and not all(map(_is_letter_everywhere, _NOT_ASCII.findall(text))):
        raise TwinCannotTellError("texts with characters that are letters in some locales only")


@cache
def _is_letter_everywhere(character: str) -> bool:
    """Whether every locale of PostgreSQL sees a letter, and one lower case of it wherever it stands in a word."""
    if not "\u00c0" <= character <= "\uffff" or unicodedata.category(character) not in ("Lu", "Ll", "Lo"):
        return False
    return len(character.lower()) == 1 and character != "Σ"

"""Text as detectors see it: one form for look-alikes, nothing invisible, and the way back to the original."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_IGNORED: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that show nothing and that Unicode does not call format characters."""
_SAME: Final = {"。": ".", "｡": ".", "−": "-", "’": "'", "‘": "'", "ʼ": "'", "´": "'", "`": "'"}
_ONE_FORM: Final = str.maketrans(_SAME)
_PLAIN: Final = re.compile(r"[\t\n\r -~]*+")
_SPACE_RUN: Final = re.compile(r"[\t\n\r]| {2}")
_MARKS: Final = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text; `origin[i]` is where its character i stood in the original, None where nothing moved.

    `origin` has one place more than the text has characters: the end of the original.
    """

    text: str
    origin: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that became `text[start:end]`, with what was left out after it."""
        if self.origin is None:
            return start, end
        return self.origin[start], max(self.origin[end], self.origin[end - 1] + 1)


def fold(text: str) -> Folded:
    """NFKC by character, ASCII digits, dashes and dots, and nothing of format or control characters."""
    return Folded(text) if _PLAIN.fullmatch(text) else _mapped(text, _fold_character)


def fold_name(text: str) -> Folded:
    """A folded text in which names compare: without case and accents, with one blank for any white space."""
    if text.isascii() and not _SPACE_RUN.search(text):
        return Folded(text.lower())
    return _single_spaced(_mapped(text, _fold_letter))


def _mapped(text: str, fold_one: Callable[[str], str]) -> Folded:
    pieces = [fold_one(character) for character in text]
    origin = [index for index, piece in enumerate(pieces) for _ in piece]
    origin.append(len(text))
    return Folded("".join(pieces), origin)


def _single_spaced(folded: Folded) -> Folded:
    kept = [i for i, character in enumerate(folded.text) if character != " " or folded.text[i - 1 : i] != " "]
    origin = folded.origin or ()
    return Folded("".join(folded.text[i] for i in kept), [origin[i] for i in (*kept, len(folded.text))])


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or _IGNORED.match(character) or (category == "Cc" and not character.isspace()):
        return ""
    if category == "Pd":
        return "-"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return _SAME.get(character) or unicodedata.normalize("NFKC", character).translate(_ONE_FORM)


@lru_cache(maxsize=4096)
def _fold_letter(character: str) -> str:
    if character.isspace():
        return " "
    return _MARKS.sub("", unicodedata.normalize("NFKD", character.upper().casefold())).casefold()

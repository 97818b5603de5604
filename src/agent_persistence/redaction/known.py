"""Values that are known to be personal, such as the names of the leads at hand, in any text that mentions them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent_persistence.redaction.findings import Finding
from agent_persistence.redaction.folding import fold, fold_name

_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_IN_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")
_IN_HANGUL: Final = re.compile("[\uac00-\ud7a3\u1100-\u11ff]")
_SHORT: Final = re.compile(f"[{_UNSPACED}\uac00-\ud7a3\u1100-\u11ff]{{2,}}")
_START: Final = re.compile(
    rf"(?<![^\W\d_])[^\W\d_]|(?<!\d)\d|[^\w\s]|_|[{_UNSPACED}]|(?<=[{_UNSPACED}\uac00-\ud7a3\u1100-\u11ff])[^\W\d_]"
)
_DIGITS: Final = re.compile(r"(?<![0-9A-Za-z])\+?\(?\d(?:[ ().\-/]{0,3}\d){6,}+")
_EXTENSION: Final = re.compile(r"(?<=\d)\s*(?:x|ext)\W*\d+\s*$", re.IGNORECASE)
_GROUP: Final = re.compile(r"\d+")
_TAIL: Final = 7
_MOST_GROUPS: Final = 15
_PREFIX_DIGITS: Final = 4
"""Of a country, as in 0049 or 001, before a number that is known without it."""
_LONGEST: Final = 200
_FEWEST_LETTERS: Final = 3
_MOST_WORDS: Final = 4
_COMPANIES: Final = (
    "ab ag aps as asa bv co company corp corporation eg eu ev gbr gmbh group inc kg kk limited limitada llc llp lp"
    " ltd ltda mbh nv ohg oy oyj plc pllc pte pty pvt sa sarl sas sasu sc se sl slu snc soc spa spz srl sro ug ооо зао"
)
_LEGAL_FORMS: Final = frozenset(_COMPANIES.split())
_TITLES: Final = frozenset(
    {"dr", "frau", "herr", "miss", "mme", "mr", "mrs", "ms", "pan", "pani", "prof", "sig", "sir"}
)


@dataclass(frozen=True, slots=True)
class _Known:
    kind: str
    value: str
    capital: bool = False
    """Whether it counts only where it begins with a capital letter."""


class KnownValues:
    """Values with their kinds, found without regard to case, accents and white space, where words begin and end.

    Names of one or two letters are not looked for, but in scripts in which two letters make a name (Han, kana, Hangul,
    Thai). Nor are values of over 200 characters. Each word of a person's name counts too, if it begins with a capital
    letter in both places, unless the name is of more than four words or has a company's legal form. Telephone numbers
    count in any notation, with or without the country's prefix.
    """

    __slots__ = ("_by_start", "_by_tail")

    def __init__(self) -> None:
        self._by_start: dict[str, dict[int, dict[str, _Known]]] = {}
        self._by_tail: dict[str, dict[str, str]] = {}

    def add(self, kind: str, value: str) -> None:
        """From now on the value is known."""
        if kind == "phone":
            digits = _digits(value)
            if len(digits) >= _TAIL:
                self._by_tail.setdefault(digits[-_TAIL:], {}).setdefault(digits, value)
        self._add(_Known(kind, value), value)
        if kind == "person":
            for word in _words(value):
                self._add(_Known(kind, word, capital=True), word)

    def find(self, text: str) -> Iterator[Finding]:
        """Where the values stand in a folded text."""
        if self._by_start:
            yield from self._find_texts(text)
        if self._by_tail:
            yield from self._find_phones(text)

    def _add(self, known: _Known, value: str) -> None:
        name = fold_name(fold(value).text).text.strip()
        if _is_long_enough(name):
            same = self._by_start.setdefault(name[:2], {}).setdefault(len(name), {})
            if name not in same or same[name].capital:
                same[name] = known

    def _find_texts(self, text: str) -> Iterator[Finding]:
        folded = fold_name(text)
        done = 0
        for start in _START.finditer(folded.text):
            if start.start() >= done:
                found = self._at(folded.text, start.start(), lambda s, e: text[slice(*folded.span(s, e))])
                if found:
                    known, done = found
                    yield Finding(known.kind, *folded.span(start.start(), done), known.value)

    def _at(self, text: str, start: int, original: Callable[[int, int], str]) -> tuple[_Known, int] | None:
        by_length = self._by_start.get(text[start : start + 2])
        if not by_length or _is_inside_a_word(text, start):
            return None
        for length in sorted(by_length, reverse=True):
            end = start + length
            known = by_length[length].get(text[start:end])
            if known and not _goes_on(text, end) and not (known.capital and original(start, end)[0].islower()):
                return known, end
        return None

    def _find_phones(self, text: str) -> Iterator[Finding]:
        for run in _DIGITS.finditer(text):
            groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
            first = 0
            for last, (_, end) in enumerate(groups):
                found = self._ending_with(text, groups[max(first, last - _MOST_GROUPS) : last + 1])
                if found:
                    value, start = found
                    yield Finding("phone", run.start() if start == groups[0][0] else start, end, value)
                    first = last + 1

    def _ending_with(self, text: str, groups: Sequence[tuple[int, int]]) -> tuple[str, int] | None:
        """The known number that ends with the last of the groups, or a part of it, and where it begins."""
        found = None
        for start, _ in reversed(groups):
            digits = _digits(text[start : groups[-1][1]])
            if len(digits) < _TAIL:
                continue
            for known, value in self._by_tail.get(digits[-_TAIL:], {}).items():
                if digits.endswith(known):
                    is_prefix = len(_digits(text[groups[0][0] : start])) <= _PREFIX_DIGITS
                    return value, groups[0][0] if is_prefix else start
                if known.endswith(digits):
                    found = value, start
            if not found:
                return None
        return found


def _digits(value: str) -> str:
    """The digits of a number, without zeros that begin it and without an extension."""
    return "".join(filter(str.isdigit, _EXTENSION.sub("", fold(value).text).replace("(0)", ""))).lstrip("0")


def _words(name: str) -> Iterable[str]:
    words = fold(name).text.split()
    if not 2 <= len(words) <= _MOST_WORDS or any(_plain(word) in _LEGAL_FORMS for word in words):
        return ()
    return [word.strip(".,;:()\"'") for word in words if not word[0].islower() and _plain(word) not in _TITLES]


def _plain(word: str) -> str:
    return "".join(filter(str.isalnum, fold_name(word).text))


def _is_long_enough(name: str) -> bool:
    if len(name) > _LONGEST:
        return False
    return sum(map(str.isalnum, name)) >= _FEWEST_LETTERS or _SHORT.search(name) is not None


def _is_inside_a_word(text: str, start: int) -> bool:
    """Whether a word goes over the place `start`; scripts without blanks have no such places."""
    return _is_joined(text[start - 1 : start], text[start]) and not _IN_UNSPACED.match(text[start])


def _goes_on(text: str, end: int) -> bool:
    """Whether the word that ends before `end` does not end there; Korean endings do not count."""
    last = text[end - 1]
    return _is_joined(last, text[end : end + 1]) and not _IN_UNSPACED.match(last) and not _IN_HANGUL.match(last)


def _is_joined(left: str, right: str) -> bool:
    if not left or not right:
        return False
    if left.isdigit() and right.isdigit():
        return True
    return (
        _is_letter(left)
        and _is_letter(right)
        and not (_IN_UNSPACED.match(left) or _IN_UNSPACED.match(right))
        and bool(_IN_HANGUL.match(left)) == bool(_IN_HANGUL.match(right))
    )


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"

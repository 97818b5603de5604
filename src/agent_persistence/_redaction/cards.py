"""Numbers of payment cards (ISO/IEC 7812)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from agent_persistence._redaction.findings import Finding
from agent_persistence._redaction.numerals import without_article_numbers

_RUN: Final = re.compile(r"(?<![0-9A-Za-z])(?<!\d[.,])\d++(?:[ -]\d++)*+")
_ENOUGH_DIGITS: Final = re.compile(r"\d(?:[ -]?\d){11}")
_GOES_ON: Final = re.compile(r"[0-9A-Za-z]|[.,]\d")
_GROUP: Final = re.compile(r"\d+")
_BRANDS: Final = re.compile(
    r"""
    4(?:\d{12}|\d{15}|\d{18})                                                       # Visa
    | (?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}              # Mastercard
    | 3[47]\d{13}                                                                   # American Express
    | 3(?:0[0-5]|095|[689]\d)\d{11,16}                                              # Diners Club
    | 35\d{14,17} | (?:2131|1800)\d{11}                                             # JCB
    | (?:5[06-9]|6\d)\d{10,17} | 0604\d{8,15}                                      # Maestro, Discover, UnionPay, RuPay
    | (?:220[0-4]|81\d\d)\d{12,15}                                                 # Mir, UnionPay
    """,
    re.VERBOSE,
)
_MOST_DIGITS: Final = 19


class Cards:
    """Finds numbers in a brand's range and length whose check digit is right (Luhn), in one piece or in groups."""

    kinds: Collection[str] = frozenset({"card"})

    def find(self, text: str) -> Iterator[Finding]:
        if not _ENOUGH_DIGITS.search(text):
            return
        for run in _RUN.finditer(without_article_numbers(text)):
            groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
            yield from _cards(text, groups[:-1] if _GOES_ON.match(text, run.end()) else groups)


def _cards(text: str, groups: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    first = 0
    while first < len(groups):
        last = _last_group(text, groups, first)
        if last is None:
            first += 1
        else:
            yield Finding("card", groups[first][0], groups[last][1])
            first = last + 1


def _last_group(text: str, groups: Sequence[tuple[int, int]], first: int) -> int | None:
    """The last group of the longest card number that begins with the group `first`."""
    digits, found = "", None
    for last in range(first, len(groups)):
        start, end = groups[last]
        if len(digits) + end - start > _MOST_DIGITS:
            break
        digits += text[start:end]
        if _BRANDS.fullmatch(digits) and has_valid_check_digit(digits):
            found = last
        if not 4 <= end - start <= 6:
            break
    return found


def has_valid_check_digit(digits: str) -> bool:
    """Whether the last digit is right by Luhn's formula (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0

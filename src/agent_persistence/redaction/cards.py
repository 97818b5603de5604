"""Numbers of payment cards (ISO/IEC 7812)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from agent_persistence.redaction.findings import Finding
from agent_persistence.redaction.grouping import GAP, breaks_the_line
from agent_persistence.redaction.numerals import without_article_numbers

_RUN: Final = re.compile(rf"(?<![0-9A-Za-z])\d++(?:{GAP}\d++)*+")
_ENOUGH_DIGITS: Final = re.compile(rf"\d(?:{GAP}\d){{11}}")
_GOES_ON: Final = re.compile(r"[0-9A-Za-z]")
_WHOLE_PART: Final = re.compile(r"(?<![0-9.,])(?:\d{1,3}\.|0,)$")
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
_LIST: Final = re.compile(r"[,;]\s")
_MOST_DIGITS: Final = 19
_GROUP_DIGITS: Final = range(4, 7)


class Cards:
    """Finds numbers in a brand's range and length whose check digit is right (Luhn), in one piece or in groups.

    Groups have four to six digits, but for the last one and where the one line break that a number may have cuts one.
    No comma with a blank parts them, as in a list.
    """

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
        last = None if _is_a_fraction(text, groups[first][0]) else _last_group(text, groups, first)
        if last is None:
            first += 1
        else:
            yield Finding("card", groups[first][0], groups[last][1])
            first = last + 1


def _last_group(text: str, groups: Sequence[tuple[int, int]], first: int) -> int | None:
    """The last group of the longest card number that begins with the group `first`."""
    digits, found, breaks, broken = "", None, 0, False
    for last in range(first, len(groups)):
        start, end = groups[last]
        if len(digits) + end - start > _MOST_DIGITS:
            break
        digits += text[start:end]
        if _BRANDS.fullmatch(digits) and has_valid_check_digit(digits):
            found = last
        gap = text[end : groups[last + 1][0]] if last + 1 < len(groups) else ""
        was_broken, broken = broken, breaks_the_line(gap)
        breaks += broken
        if _LIST.match(gap) or breaks > 1 or not (was_broken or broken or end - start in _GROUP_DIGITS):
            break
    return found


def _is_a_fraction(text: str, start: int) -> bool:
    """Whether the digits stand behind the point of a decimal number, as in 0.4111111111111111."""
    return _WHOLE_PART.search(text[max(0, start - 5) : start]) is not None


def has_valid_check_digit(digits: str) -> bool:
    """Whether the last digit is right by Luhn's formula (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0

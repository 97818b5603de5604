"""International bank account numbers (ISO 13616)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from agent_persistence.redaction.findings import Finding
from agent_persistence.redaction.grouping import GAP

_BY_LENGTH: Final = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
    33: "RU",
}  # fmt: skip
_LENGTHS: Final = {country: length for length, countries in _BY_LENGTH.items() for country in countries.split()}
"""Characters of an IBAN by country, after the registry of SWIFT."""
_START: Final = re.compile(rf"(?:(?<![A-Za-z0-9])|(?<=IBAN))([A-Za-z]){GAP}([A-Za-z]){GAP}\d{GAP}\d")
_CHARACTER: Final = re.compile(rf"{GAP}([A-Za-z0-9])")


class Ibans:
    """Finds IBANs of the length of their country whose check digits are right (ISO 7064, mod 97).

    Blanks, dots, slashes and the like may stand between the groups, a line break too. Letters are all capitals or,
    where the country stands right before the check digits, none but the first is: "at 10 the bank opens" is no account.
    """

    kinds: Collection[str] = frozenset({"iban"})

    def find(self, text: str) -> Iterator[Finding]:
        for start in _START.finditer(text):
            length = _LENGTHS.get((start[1] + start[2]).upper())
            end = _end(text, start.start(), length) if length else None
            if end:
                yield Finding("iban", start.start(), end)


def _end(text: str, start: int, length: int) -> int | None:
    """Where `length` letters and digits that check out end, if a word ends there too."""
    characters: list[str] = []
    end = start
    while len(characters) < length:
        found = _CHARACTER.match(text, end)
        if not found:
            return None
        characters.append(found[1])
        end = found.end()
    if text[end : end + 1].isascii() and text[end : end + 1].isalnum():
        return None
    iban = "".join(characters)
    is_in_one_piece = text.startswith(iban[:4], start)
    if not (iban.isupper() or (is_in_one_piece and iban[1:].islower())):
        return None
    return end if has_valid_check_digits(iban) else None


def has_valid_check_digits(iban: str) -> bool:
    """Whether an IBAN without blanks leaves 1 when divided by 97."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1

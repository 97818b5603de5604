"""How the texts of a file spell values: numbers, dates, lists and nothing, where they are not spelled as in PostgreSQL.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from agent_persistence.bulk.converting import Converter, converter, converter_of_items
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.schema.types import Family, family, short_name

DecimalMark: TypeAlias = Literal[".", ","]
_BLANKS: Final = " \t\u00a0\u202f\ufeff"
_CURRENCIES: Final = "€$£¥"
_GROUPED: Final = {
    ",": re.compile(
        r"[+-]?\d{1,3}(?:(?P<mark>[. '\u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*)?(?:,\d*)?|[+-]?\d+(?:,\d*)?|,\d+"
    ),
    ".": re.compile(
        r"[+-]?\d{1,3}(?:(?P<mark>[, '\u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*)?(?:\.\d*)?|[+-]?\d+(?:\.\d*)?"
    ),
}
"""A number by its decimal mark: digits, perhaps in groups of three that another mark parts."""
_OF_DAYS: Final = frozenset({"date", "timestamp", "timestamptz"})


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a file spells values, where it says so.

    `decimal` is the mark in front of the decimals; groups of three digits may then be parted by the other one, a blank
    or an apostrophe, and a currency's sign may stand beside them. `date_formats` are those of `datetime.strptime`, of
    which the first that fits is taken, beside ISO 8601. `list_separator` parts the items of an array. With `trim`,
    blanks around a text are no part of it; with `quoted_null`, a text that stands for NULL does so in quotes too; with
    `fill_defaults`, a NULL in a column that may not be NULL becomes the default that is declared for it.
    """

    decimal: DecimalMark | None = None
    date_formats: tuple[str, ...] = ()
    list_separator: str | None = None
    trim: bool = False
    quoted_null: bool = False
    fill_defaults: bool = False

    def check(self) -> None:
        """Refuse what cannot be meant."""
        decimal: object = self.decimal
        if decimal not in (None, ".", ","):
            raise ConfigurationError(f"decimal is '.' or ',', not {decimal!r:.20}")
        for each in map(str, self.date_formats):
            if "%" not in each:
                raise ConfigurationError(f"date_format is one such as '%d.%m.%Y', not {each!r:.40}")
        if self.list_separator is not None and not str(self.list_separator):
            raise ConfigurationError("list_separator is the text between two items of a list, such as ';'")

    def as_json(self) -> dict[str, Any]:
        """What differs from PostgreSQL's spelling, as JSON."""
        given = {
            "decimal": self.decimal,
            "date_formats": list(self.date_formats),
            "list_separator": self.list_separator,
            "trim": self.trim,
            "quoted_null": self.quoted_null,
            "fill_defaults": self.fill_defaults,
        }
        return {name: value for name, value in given.items() if value}

    def converter(self, type_name: str) -> Converter | None:
        """What makes a value of a text for a column of this type, or None where the text is the value."""
        plain = re.sub(r"\s*\([^)]*\)", "", type_name).strip().lower()
        exact = converter(type_name)
        if family(plain) is Family.ARRAY and self.list_separator is not None and exact is not None:
            element = self.converter(plain.removesuffix("[]").removeprefix("_"))
            return _listed(exact, self.list_separator, converter_of_items(element))
        if family(plain) is Family.NUMBER and self.decimal is not None and exact is not None:
            return _numbered(exact, self.decimal)
        if short_name(plain) in _OF_DAYS and self.date_formats and exact is not None:
            return _dated(exact, self.date_formats, is_date=short_name(plain) == "date")
        return exact


PLAIN: Final = Spelling()


def trimmed(text: str) -> str:
    """The text without blanks around it, those that do not break included."""
    return text.strip(_BLANKS)


def spelled_number(text: str, decimal: DecimalMark) -> str | None:
    """The number as PostgreSQL spells it, or None where it is none with this decimal mark."""
    bare = trimmed(text.strip(_BLANKS + _CURRENCIES))
    if _GROUPED[decimal].fullmatch(bare) is None:
        return None
    return re.sub(rf"[^\d{decimal}+-]", "", bare).replace(",", ".")


def spelled_moment(text: str, formats: Sequence[str], *, is_date: bool) -> str | None:
    """The date or time as ISO 8601, by the first of the formats that fits; None where none does."""
    for each in formats:
        try:
            found = datetime.strptime(text.strip(), each)  # noqa: DTZ007  what has no zone in the file gets none
        except ValueError:
            continue
        if not is_date:
            return found.isoformat()
        return found.date().isoformat() if found.time() == datetime.min.time() else None
    return None


def _numbered(exact: Converter, decimal: DecimalMark) -> Converter:
    def convert(text: str) -> Any:
        spelled = spelled_number(text, decimal)
        return exact(text if spelled is None and decimal == "." else _needed(spelled, _other_number(decimal)))

    return convert


def _dated(exact: Converter, formats: Sequence[str], *, is_date: bool) -> Converter:
    def convert(text: str) -> Any:
        spelled = spelled_moment(text, formats, is_date=is_date)
        return exact(text if spelled is None else spelled)

    return convert


def _listed(exact: Converter, separator: str, items: Callable[[list[str]], list[Any]]) -> Converter:
    def convert(text: str) -> Any:
        bare = text.strip()
        if bare[:1] + bare[-1:] in ("{}", "[]"):
            return exact(text)
        return items([item for item in map(trimmed, text.split(separator)) if item])

    return convert


def _needed(spelled: str | None, reason: str) -> str:
    if spelled is None:
        raise ValueError(reason)
    return spelled


def _other_number(decimal: str) -> str:
    return f"is a number, and this is none with the decimal mark {decimal!r}"

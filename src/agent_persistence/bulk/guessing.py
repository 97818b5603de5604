"""How a file spells values, inferred from the texts of its columns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from agent_persistence.bulk.converting import converter
from agent_persistence.bulk.spelling import DecimalMark, spelled_moment, spelled_number, trimmed
from agent_persistence.schema.registry import Column
from agent_persistence.schema.types import Family, family, short_name

_NOTHING: Final = frozenset(
    [
        "null",
        "none",
        "nil",
        "nan",
        "na",
        "n/a",
        "#n/a",
        "#value!",
        "#ref!",
        "n.a.",
        "k.a.",
        "-",
        "--",
        "–",
        "—",
        "?",
        "(null)",
        "(blank)",
        "\\n",
        "undefined",
        "unknown",
    ]
)
_SURE_NOTHING: Final = frozenset({"NULL", "\\N", "#N/A", "(null)", "N/A", "n/a", "NaN", "(blank)"})
_DAYS: Final = (
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%Y%m%d"),
    *("%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y"),
)
_TIMES: Final = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %I:%M %p",
    " %I:%M:%S %p",
    ", %I:%M %p",
    ", %H:%M",
    "T%H:%M:%S",
    " %H:%M:%S %z",
)
_ASKED: Final = frozenset({"null", "trim", "decimal", "date_format", "list_separator", "quoted_null"})
_SEPARATORS: Final = (";", "|", ",")


@dataclass
class Inferred:
    """What was inferred: options of `bulk_import` with the reason, and what cannot be inferred."""

    options: dict[str, tuple[Any, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, option: str, value: Any, why: str) -> None:
        """The first finding for an option counts."""
        self.options.setdefault(option, (value, why))


def infer(texts: Mapping[str, Sequence[str]], columns: Mapping[str, Column], given: Iterable[str]) -> Inferred:
    """What the texts of the columns say of null, trim, decimal, date_format and list_separator; those in `given` are
    not asked for."""
    found, asked = Inferred(), _ASKED - set(given)
    bare = {name: [text for text in map(trimmed, values) if text] for name, values in texts.items()}
    if "trim" in asked and any(_has_blanks(values, columns.get(name)) for name, values in texts.items()):
        found.add("trim", True, "texts have blanks around them")
    nulls = _nulls(bare, columns) if "null" in asked else []
    if nulls:
        found.add("null", ["", *nulls], f"{', '.join(map(repr, nulls))} for no value")
    if "quoted_null" in asked and any("" in texts[name] and _is_typed(columns.get(name)) for name in texts):
        found.add("quoted_null", True, "an empty text in quotes where there is no value")
    for name, values in bare.items():
        column = columns.get(name)
        rest = [text for text in values if text not in nulls]
        if column is not None and rest:
            _infer_of(name, column.type, rest, found, asked)
    return found


def _is_typed(column: Column | None) -> bool:
    """Whether not every text is a value of the column."""
    return column is not None and family(column.type) not in (Family.TEXT, Family.UNKNOWN)


def _has_blanks(values: Sequence[str], column: Column | None) -> bool:
    """Whether blanks around texts come of how the file is written: around any value, or around most texts."""
    count = sum(text != trimmed(text) for text in values)
    return count > 0 if _is_typed(column) else count > len(values) / 2


def _nulls(texts: Mapping[str, Sequence[str]], columns: Mapping[str, Column]) -> list[str]:
    found: dict[str, None] = {}
    for name, values in texts.items():
        is_typed = _is_typed(columns.get(name))
        for text in values:
            if text in _SURE_NOTHING or (is_typed and text.lower() in _NOTHING):
                found[text] = None
    return list(found)


def _infer_of(name: str, type_name: str, values: list[str], found: Inferred, asked: frozenset[str]) -> None:
    kind = family(type_name)
    if kind is Family.NUMBER and "decimal" in asked:
        _infer_decimal(name, type_name, values, found)
    elif kind is Family.ARRAY and "list_separator" in asked:
        if not all(text[:1] + text[-1:] in ("{}", "[]") for text in values):
            separator = next((mark for mark in _SEPARATORS if any(mark in text for text in values)), ",")
            found.add("list_separator", separator, f"{name} holds lists")
    elif short_name(type_name.lower()) in ("date", "timestamp", "timestamptz") and "date_format" in asked:
        _infer_dates(name, short_name(type_name.lower()), values, found)


def _fails(type_name: str, values: Sequence[str]) -> list[str]:
    """The texts that are no values of the type as they stand."""
    convert = converter(type_name)
    failing = []
    for text in values:
        try:
            if convert is not None:
                convert(text)
        except ValueError:
            failing.append(text)
    return failing


def _infer_decimal(name: str, type_name: str, values: list[str], found: Inferred) -> None:
    failing = _fails(type_name, values)
    if not failing:
        return
    fits: list[DecimalMark] = [mark for mark in _MARKS if _share(values, mark) > 0.9]
    if len(fits) == 2 and all(_may_be_both(text) for text in failing):
        found.problems.append(f"{name} holds numbers such as 1,234, which may mean two: say decimal=',' or decimal='.'")
    elif fits:
        mark: DecimalMark = fits[0] if len(fits) == 1 else ","
        found.add("decimal", mark, f"numbers of {name}")


_MARKS: Final[tuple[DecimalMark, ...]] = (",", ".")


def _share(values: Sequence[str], mark: DecimalMark) -> float:
    return sum(spelled_number(text, mark) is not None for text in values) / len(values)


def _may_be_both(text: str) -> bool:
    numbers = {spelled_number(text, mark) for mark in _MARKS}
    return None not in numbers and len({float(number or 0) for number in numbers}) > 1


def _infer_dates(name: str, kind: str, values: list[str], found: Inferred) -> None:
    failing = _fails(kind, values)
    if not failing:
        return
    is_date = kind == "date"
    formats = _DAYS if is_date else tuple(day + hour for hour, day in product(_TIMES, _DAYS))
    read = {each: _moments(failing, each, is_date=is_date) for each in formats}
    whole = {each: moments for each, moments in read.items() if None not in moments}
    if not whole:
        most = max(read, key=lambda each: sum(one is not None for one in read[each]))
        if sum(one is not None for one in read[most]) > len(failing) / 2:
            found.add("date_format", most, f"dates of {name}")
        elif len(failing) > len(values) / 2:
            found.problems.append(
                f"{name} holds dates in no format that is known here: say date_format='%d.%m.%Y' or so"
            )
        return
    first = next(iter(whole))
    other = next((each for each, moments in whole.items() if moments != whole[first]), None)
    if other is not None:
        found.problems.append(
            f"{name} holds dates that may mean two days each: say date_format={first!r} or date_format={other!r}"
        )
        return
    found.add("date_format", first, f"dates of {name}")


def _moments(values: Sequence[str], each: str, *, is_date: bool) -> tuple[str | None, ...]:
    return tuple(spelled_moment(text, (each,), is_date=is_date) for text in values)

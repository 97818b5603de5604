"""Keys by which JSON values sort as PostgreSQL sorts the values of a type. Pure.

What no Python type holds is among them: `NaN` and the infinities, years before 1 and after 9999. PostgreSQL's order:
https://www.postgresql.org/docs/18/datatype-numeric.html (NaN is above all numbers) and …/datatype-datetime.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from math import inf
from typing import Any, Final

from agent_persistence.exceptions import AdapterError

Rank = Callable[[Any], Any]


def rank_of(type_name: str) -> Rank | None:
    """The key for values of the type; None where their order depends on a collation, or is not known."""
    return _RANKS.get(type_name.partition("(")[0])


def _number(value: Any) -> tuple[bool, Any]:
    return (True, 0) if value == "NaN" else (False, _INFINITE.get(value, value) if isinstance(value, str) else value)


_INFINITE: Final = {"Infinity": inf, "-Infinity": -inf, "infinity": inf, "-infinity": -inf}
_MOMENT: Final = re.compile(r"(\d{4,})(-\d\d-\d\d(?:[T ]\d.*?)?)( BC)?")
_CYCLE_YEARS: Final = 400
_CYCLE_S: Final = 146_097 * 86_400
"""The Gregorian calendar repeats itself after these."""


def _moment(value: Any) -> tuple[float, float]:
    """Seconds from the beginning of year 1, as whole ones and the rest; an hour without a zone is UTC's."""
    if value in _INFINITE:
        return _INFINITE[value], 0
    try:
        return _read_moment(value)
    except (TypeError, ValueError) as error:
        unknown = "the server sent a date or time in an unknown form, by which rows cannot be sorted"
        raise AdapterError(unknown) from error


def _read_moment(text: str) -> tuple[float, float]:
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("no date")
    year = 1 - int(found[1]) if found[3] else int(found[1])
    cycles, rest = divmod(year - 1, _CYCLE_YEARS)
    moment = datetime.fromisoformat(f"{rest + 1:04}{found[2]}")
    offset = moment.utcoffset()
    seconds = moment.toordinal() * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    return cycles * _CYCLE_S + seconds - (0 if offset is None else offset.total_seconds()), moment.microsecond


_RANKS: Final[dict[str, Rank]] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "numeric", "real", "double precision"), _number),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), _moment),
    **dict.fromkeys(("boolean", "uuid"), lambda value: value),
}

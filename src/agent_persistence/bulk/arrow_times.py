"""Days, times and spans counted from an epoch as texts that PostgreSQL reads, also beyond Python's years. Pure.

Its bounds are those of https://www.postgresql.org/docs/current/datatype-datetime.html; ValueError beyond them, with a
reason that does not repeat the value.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""In one unit of Arrow's; of its nanoseconds a thousand make one."""
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_CYCLE_DAYS, _CYCLE_YEARS = 146_097, 400
"""The Gregorian calendar repeats itself."""
_FIRST_DAY: Final = -2_440_588
"""4714-11-24 BC, where Julian days begin, the first that PostgreSQL has."""
_LAST_YEAR: Final = {"date": 5_874_897, "timestamp": 294_276}
_MARKS: Final = frozenset({2**63 - 1, -(2**63), -(2**63 - 1)})


def microseconds(count: int, unit: str) -> int:
    """The count as microseconds, cut to whole ones."""
    return count // 1000 if unit == "ns" else count * MICROSECONDS[unit]


def day(days: int) -> str:
    """The date so many days after 1970-01-01."""
    text, era = _calendar(days, "date")
    return text + era


def moment(count: int, unit: str, zone: tzinfo | None) -> str:
    """The time so many units after 1970, on the clock of the zone, or on that of UTC beyond Python's years."""
    if count in _MARKS:
        raise ValueError(
            "is the last value that a time can have, by which some writers mean infinity; write null or text"
        )
    whole = microseconds(count, unit)
    try:
        at = _EPOCH + timedelta(microseconds=whole)
        return (at.replace(tzinfo=None) if zone is None else at.astimezone(zone)).isoformat()
    except OverflowError:
        days, rest = divmod(whole, _DAY_US)
        text, era = _calendar(days, "timestamp")
        return f"{text}T{_clock(rest)}{'' if zone is None else '+00:00'}{era}"


def clock(count: int, unit: str) -> str:
    """The time of day so many units after midnight; 24:00:00 is one."""
    whole = microseconds(count, unit)
    if not 0 <= whole <= _DAY_US:
        raise ValueError("is a time of day, and this is none")
    return _clock(whole)


def span(count: int, unit: str) -> str:
    """The interval, in ISO 8601."""
    whole = microseconds(count, unit)
    if abs(whole) >= 2**63:
        raise ValueError("is longer than an interval of PostgreSQL can be")
    seconds, rest = divmod(abs(whole), 1_000_000)
    return f"PT{'-' if whole < 0 else ''}{seconds}.{rest:06}S"


def _clock(whole_us: int) -> str:
    seconds, rest = divmod(whole_us, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest:06}" if rest else text


def _calendar(days: int, kind: str) -> tuple[str, str]:
    """Year, month and day, and the mark of years before Christ."""
    cycles, within = divmod(days + _EPOCH_DAY - 1, _CYCLE_DAYS)
    found = date.fromordinal(within + 1)
    year = found.year + cycles * _CYCLE_YEARS
    if days < _FIRST_DAY or year > _LAST_YEAR[kind]:
        raise ValueError(
            f"is a {kind} outside of those that PostgreSQL has, 4714-11-24 BC to the year {_LAST_YEAR[kind]}"
        )
    shown, era = (year, "") if year > 0 else (1 - year, " BC")
    return f"{shown:04}-{found.month:02}-{found.day:02}", era

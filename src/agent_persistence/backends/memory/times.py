"""PostgreSQL's dates and times in ISO 8601, as texts that are ordered as the times are.

Years 1 to 9999 only. PostgreSQL reads many more forms ("Jan 2 2026", "tomorrow", names of time zones); those are
refused as not followed, and only what certainly is no date gets PostgreSQL's error (DecodeDateTime in datetime.c).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError

_ISO = re.compile(
    r"""\s*(?P<year>\d{3,9})-(?P<month>\d{1,2})-(?P<day>\d{1,2})
        (?:(?:[Tt]|\s+)(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d*))?)?
           (?:\s*(?:[Zz]|(?P<sign>[+-])(?P<zone>\d{1,2}(?::\d{2}(?::\d{2})?)?|\d{4}|\d{6})))?)?\s*""",
    re.VERBOSE | re.ASCII,
)
_CLOCK = re.compile(
    r"\s*(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d*))?)?\s*", re.ASCII
)
_SPECIAL = re.compile(r"\s*([+-]?infinity|epoch)\s*", re.IGNORECASE | re.ASCII)
_RELATIVE = re.compile(
    r"\s*(?:now|today|tomorrow|yesterday|allballs|infinity|epoch)(?:\s.*)?", re.IGNORECASE | re.ASCII | re.DOTALL
)
_NO_DATE = re.compile(
    r"\s*[1-9]\d{0,4}\s*|[+-]\d|-?\d{1,2}\.\d{1,2}|\d(?:\.\d{1,2})?e[+-]?\d{1,3}"
    r"|\d{4}-\d{2}-\d{2}(?:[Tt\s]\d{0,2})\s*",
    re.ASCII,
)
_NO_MONTH = re.compile(r"\s*(?:0{1,4}|1[3-9]|[2-9]\d)\s*", re.ASCII)
"""What PostgreSQL takes for a month (22008), not for something else than a date (22007)."""
_WORD: Final = re.compile(r"[A-Za-z]+")
_DATE_WORDS: Final = re.compile(
    "january|february|march|april|august|sept(ember)?|october|november|december|(mon|tues|wednes|thurs|fri|satur|sun)day"
    "|tomorrow|yesterday|infinity|allballs|julian|isoyear|timezone|greenwich|hongkong|iceland|israel|jamaica|kwajalein"
    "|navajo|poland|portugal|singapore|turkey|universal|factory"
)
"""The words of more than five letters that may stand in a time, names of time zones without a slash included."""
_MAX_ZONE_HOUR: Final = 15


def stamp(moment: datetime) -> str:
    """The moment as PostgREST prints a timestamptz on a server in UTC."""
    return _printed(moment.astimezone(UTC).replace(tzinfo=None)) + "+00:00"


def _printed(moment: datetime) -> str:
    text = moment.isoformat()
    return text.rstrip("0") if "." in text else text


def read_timestamptz(text: str) -> str:
    name = "timestamp with time zone"
    special = _special(text, "1970-01-01T00:00:00+00:00")
    if special:
        return special
    found = _fields(text, name)
    return _printed(_moved(_moment(found, name), -_offset(found, name))) + "+00:00"


def read_timestamp(text: str) -> str:
    name = "timestamp without time zone"
    special = _special(text, "1970-01-01T00:00:00")
    if special:
        return special
    found = _fields(text, name)
    _offset(found, name)
    return _printed(_moment(found, name))


def read_date(text: str) -> str:
    """A time behind the date is checked and left out."""
    special = _special(text, "1970-01-01")
    if special:
        return special
    found = _fields(text, "date")
    _time(found, "date")
    _offset(found, "date")
    return _day(found, "date").isoformat()


def read_time(text: str) -> str:
    """Hours, minutes and seconds alone: with a date or a zone they are not followed."""
    name = "time without time zone"
    found = _CLOCK.fullmatch(text)
    if found is None:
        if re.fullmatch(r"\s*[A-Za-z]*\s*", text, re.ASCII) and not _RELATIVE.fullmatch(text):
            raise NotOfTypeError("22007", name)
        raise TwinCannotTellError(f"reading a {name} that is not in ISO 8601")
    since_midnight = _time(found, name)
    if since_midnight >= timedelta(days=1):
        return "24:00:00"
    return _printed(datetime(1, 1, 1) + since_midnight).partition("T")[2]  # noqa: DTZ001


def _special(text: str, epoch: str) -> str | None:
    found = _SPECIAL.fullmatch(text)
    if found is None:
        return None
    word = found.group(1).lower()
    return epoch if word == "epoch" else word.lstrip("+")


def _fields(text: str, name: str) -> re.Match[str]:
    found = _ISO.fullmatch(text)
    if found is None:
        raise _refusal(text, name)
    return found


def _refusal(text: str, name: str) -> ValueError:
    if _NO_MONTH.fullmatch(text):
        return NotOfTypeError("22008", name)
    words = [word.lower() for word in _WORD.findall(text)]
    has_digits = re.search("[0-9]", text) is not None
    if not has_digits and not _RELATIVE.fullmatch(text):
        return NotOfTypeError("22007", name)
    if _NO_DATE.fullmatch(text) or any(
        len(word) > 5 and not _DATE_WORDS.fullmatch(word) and "/" not in text and "_" not in text for word in words
    ):
        return NotOfTypeError("22007", name)
    return TwinCannotTellError(f"reading a {name} that is not in ISO 8601")


def _moment(found: re.Match[str], name: str) -> datetime:
    """The clock is checked first, then the zone, then the calendar, as in DecodeDateTime."""
    after_midnight = _time(found, name)
    _offset(found, name)
    day = _day(found, name)
    return _moved(datetime(day.year, day.month, day.day), after_midnight)  # noqa: DTZ001  (the zone is applied later)


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        raise TwinCannotTellError("years before 1 and after 9999") from None


def _time(found: re.Match[str], name: str) -> timedelta:
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    microseconds = round(float(f"0.{found['fraction'] or 0}") * 1_000_000)
    beyond = hour == 24 and (minute or second or microseconds)
    if hour > 24 or minute > 59 or second > 60 or beyond:
        raise NotOfTypeError("22008", name)
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microseconds)


def _offset(found: re.Match[str], name: str) -> timedelta:
    if found["zone"] is None:
        return timedelta()
    digits = found["zone"].replace(":", "")
    digits = digits.zfill(2) if len(digits) == 1 else digits
    hours, minutes, seconds = (int(digits[at : at + 2] or 0) for at in (0, 2, 4))
    if hours > _MAX_ZONE_HOUR or minutes > 59 or seconds > 59:
        raise NotOfTypeError("22009", name)
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -offset if found["sign"] == "-" else offset


def _day(found: re.Match[str], name: str) -> date:
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    if year > 9999:
        raise TwinCannotTellError("years before 1 and after 9999")
    try:
        return date(year, month, day)
    except ValueError:
        raise NotOfTypeError("22008", name) from None

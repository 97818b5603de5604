"""The days that a question names: `on 27 November`, `in May 2023`, `2026-11-27`, `27.11.2026`, `last Friday`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Final, TypeAlias

from agent_persistence.rag.ranking.words import folded

Day: TypeAlias = str
"""As ISO 8601 writes it: 2026-11-27."""
IsMeant: TypeAlias = Callable[[Day], bool]

_MONTHS: Final = (
    "january januar enero janvier gennaio janeiro januari",
    "february februar febrero fevrier febbraio fevereiro februari",
    "march marz maerz marzo mars marco maart",
    "april abril avril aprile",
    "may mai mayo maggio maio mei",
    "june juni junio juin giugno junho",
    "july juli julio juillet luglio julho",
    "august agosto aout augustus",
    "september septiembre septembre settembre setembro",
    "october oktober octubre octobre ottobre outubro",
    "november noviembre novembre novembro",
    "december dezember diciembre decembre dicembre dezembro",
)
_WEEKDAYS: Final = (
    "monday montag lunes lundi lunedi maandag",
    "tuesday dienstag martes mardi martedi dinsdag",
    "wednesday mittwoch miercoles mercredi mercoledi woensdag",
    "thursday donnerstag jueves jeudi giovedi donderdag",
    "friday freitag viernes vendredi venerdi vrijdag",
    "saturday samstag sonnabend sabado samedi sabato zaterdag",
    "sunday sonntag domingo dimanche domenica zondag",
)
_MONTH: Final = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_WEEKDAY: Final = {name: number for number, names in enumerate(_WEEKDAYS) for name in names.split()}
_NAMES: Final = "|".join(_MONTH)
_NAMED: Final = re.compile(
    rf"(?:\b(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+|de\s+)?)?\b(?P<month>{_NAMES})\b"
    r"(?:\s+(?P<day_after>\d{1,2})(?:st|nd|rd|th)?\b(?!\d))?(?:,?\s+(?:de\s+|del\s+)?(?P<year>\d{4})\b)?"
)
_ISO: Final = re.compile(r"\b(\d{4})-(\d\d)(?:-(\d\d))?\b")
_DOTTED: Final = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4})?(?!\d)")
_JAPANESE: Final = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(?:(\d{1,2})日)?")
_VERBS: Final = frozenset({"may", "march", "mars", "mai", "mei", "augustus"})
"""Words that are months only beside a number, or after a word that stands before a time."""
_BEFORE_A_TIME: Final = re.compile(r"\b(?:in|of|since|until|during|last|next|im|seit|en|de|a)\s*$")
_MOST: Final = 4
_MOST_CHARACTERS: Final = 20_000


def days_meant(question: str) -> list[IsMeant]:
    """What says of a day whether the question means it, for each time that it names, four at most."""
    return list(_meant(folded(question[:_MOST_CHARACTERS])))[:_MOST]


def _meant(question: str) -> Iterator[IsMeant]:
    for year, month, day in (*_ISO.findall(question), *_JAPANESE.findall(question)):
        yield _is_day(year, month, day)
    for day, month, year in _DOTTED.findall(question):
        yield _is_day(year, month, day)
    for found in _NAMED.finditer(question):
        day, year = found["day"] or found["day_after"] or "", found["year"] or ""
        if found["month"] in _VERBS and not (day or year or _BEFORE_A_TIME.search(question[: found.start()])):
            continue
        yield _is_day(year, str(_MONTH[found["month"]]), day)
    for word in dict.fromkeys(re.findall(r"[^\W_]+", question)):
        if word in _WEEKDAY:
            yield _is_weekday(_WEEKDAY[word])


def _is_day(year: str, month: str, day: str) -> IsMeant:
    pattern = re.compile(f"{year or '[0-9]{4}'}-{month:0>2}-{f'{day:0>2}' if day else '[0-9]{2}'}")
    return lambda text: pattern.fullmatch(text) is not None


def _is_weekday(number: int) -> IsMeant:
    known: dict[Day, bool] = {}

    def holds(day: Day) -> bool:
        if day not in known:
            try:
                known[day] = date.fromisoformat(day).weekday() == number
            except ValueError:
                known[day] = False
        return known[day]

    return holds


def places_of(is_meant: IsMeant, days: Sequence[Day]) -> dict[int, float]:
    """The places of the days that are meant."""
    meant: dict[Day, bool] = {}
    for day in days:
        if day not in meant:
            meant[day] = bool(day) and is_meant(day)
    return {place: 1.0 for place, day in enumerate(days) if meant[day]}

"""Telephone numbers, by the way they are written and by what stands before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from agent_persistence._redaction.findings import Finding
from agent_persistence._redaction.numerals import without_numerals
from agent_persistence.exceptions import ConfigurationError, printable

_RUN: Final = re.compile(
    r"(?:(?<![0-9A-Za-z_+])(?<!\d[.,:])\(?|(?<=[A-Za-z])(?=\+))(?:\+[ (]{0,2})?\d(?:(?! ?/ )[ \t().\-/~]{0,3}\d){5,}+"
)
_ENOUGH_DIGITS: Final = re.compile(r"\d(?:[ \t().\-/~]{0,3}\d){5}")
_EXTENSION: Final = re.compile(r" ?(?:x|ext\.?|доб\.?|int\.|poste) ?\d{1,6}(?![0-9A-Za-z_])", re.IGNORECASE)
_GOES_ON: Final = re.compile(r"[0-9A-Za-z_]|[,:]\d")
_GROUP: Final = re.compile(r"\d+")
_ABBREVIATIONS: Final = r"(?:tele?|ph|mob|cell?|fax|gsm|tél|kom|тел|моб)\.?"
_WORDS: Final = (
    "telephone phone mobile call ring dial text sms whatsapp signal reach contact telefon telefonnummer "
    "telefonisch handy mobil mobilnummer ruf rufen rufnummer durchwahl téléphone appeler appelez joignable "
    "portable teléfono llama llamar llame llámame móvil fijo telefono chiama chiamare chiamami cellulare "
    "dzwonić zadzwoń komórka telefone celular ligue liga whats zap fone ara arayın cep telefoon bel mobiel "
    "телефон мобильный звоните позвоните"
).replace(" ", "|")
_CUE: Final = re.compile(
    rf"(?:(?<![^\W_])(?:{_ABBREVIATIONS}|{_WORDS})(?![^\W_])|電話|携帯|連絡|전화|휴대폰|핸드폰|연락|电话|手机)[^\d\n.!?]{{0,18}}$",
    re.IGNORECASE,
)
_CUE_REACH: Final = 32
_FEWEST_DIGITS: Final = 7
_MOST_DIGITS: Final = 15
_MOST_SLASHES: Final = 2
_NATIONAL_DIGITS: Final = range(9, 13)


class Phones:
    """Finds telephone numbers that are written as such; with `regions`, also bare digits that are valid in one.

    As such means with a plus sign, with brackets, with two separators, as nine digits or more that begin with a zero,
    or after a word such as "Tel." or "call". Dates, amounts, codes and the like are left alone. `regions` are
    countries by two letters, such as "US", and need the extra `agent-persistence[redaction]`.
    """

    kinds: Collection[str] = frozenset({"phone"})

    def __init__(self, *, regions: Iterable[str] = ()) -> None:
        self._is_valid = _validity(regions)

    def find(self, text: str) -> Iterator[Finding]:
        if not _ENOUGH_DIGITS.search(text):
            return
        blanked = without_numerals(text)
        for run in _RUN.finditer(blanked):
            opened = run[0][0] == "(" and run[0].count("(") > run[0].count(")")
            for start, end in _pieces(blanked, run.start() + opened, run.end()):
                if _is_written_as_a_number(text, start, end) or self._is_valid(text[start:end]):
                    extension = _EXTENSION.match(text, end)
                    yield Finding("phone", start, extension.end() if extension else end)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The run, or where it has too many digits for a number, parts of it that have not; no half of a longer word."""
    digits, last = 0, start
    for group in _GROUP.finditer(text, start, end):
        if group.end() == end and _GOES_ON.match(text, end) and not _EXTENSION.match(text, end):
            break
        if digits + len(group[0]) > _MOST_DIGITS:
            if digits >= _FEWEST_DIGITS:
                yield start, last
            start, digits = group.start(), 0
        digits += len(group[0])
        last = group.end()
    if _FEWEST_DIGITS <= digits <= _MOST_DIGITS:
        yield start, last


def _is_written_as_a_number(text: str, start: int, end: int) -> bool:
    number = text[start:end]
    if number.count("/") > _MOST_SLASHES:
        return False
    groups = _GROUP.findall(number)
    if "+" in number or ")" in number or len(groups) >= 3:
        return True
    if number[0] == "0" and sum(map(len, groups)) in _NATIONAL_DIGITS:
        return True
    return _CUE.search(text[max(0, start - _CUE_REACH) : start]) is not None


def _validity(regions: Iterable[str]) -> Callable[[str], bool]:
    """A test whether a text of nine digits or more is a valid number in one of the regions."""
    wanted = tuple(regions)
    if isinstance(regions, str) or not all(type(region) is str for region in wanted):
        raise ConfigurationError('regions is a list of countries by two letters, such as ["US", "DE"]')
    if not wanted:
        return lambda _: False
    try:
        import phonenumbers
    except ImportError:
        raise ConfigurationError("regions need the extra: pip install 'agent-persistence[redaction]'") from None
    for region in wanted:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigurationError(f"regions: {printable(region)} is no country by two capital letters")

    def is_valid(text: str, region: str) -> bool:
        try:
            return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
        except phonenumbers.NumberParseException:
            return False

    return lambda text: (
        sum(map(str.isdigit, text)) >= _NATIONAL_DIGITS.start and any(is_valid(text, region) for region in wanted)
    )

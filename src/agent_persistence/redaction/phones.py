"""Telephone numbers, by the way they are written and by what stands before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from agent_persistence._extras import command_for
from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.redaction.findings import Finding
from agent_persistence.redaction.numerals import NAMED_BEFORE, without_numerals
from agent_persistence.redaction.parting import parted

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
_LIST: Final = re.compile(r"[\s,;/&|()-]{1,4}(?:(?:or|and|und|oder|ou|et|o|e|y|lub|i|или|и|veya|ve)[ (]{1,2})?")
_DOTTED: Final = re.compile(
    r"""
    0\d{1,5}(?:S\d{2,8}){1,5}                               # with the zero of a long-distance or a foreign call
    | (?:[178]S)?\d{3}S\d{3}S(?:\d{4}|\d\dS\d\d)
    | \d{2,3}S\d{3}S\d\dS\d\d
    """.replace("S", r"[ .\-/~]{1,3}"),
    re.VERBOSE,
)
"""Numbers with dots in them; what else has them is a version, a build or a section."""
_MOST_SLASHES: Final = 2
_NATIONAL_DIGITS: Final = range(9, 13)


class Phones:
    """Finds telephone numbers that are written as such; with `regions`, also bare digits that are valid in one.

    As such means with a plus sign, with brackets, with two separators, as nine digits or more that begin with a zero,
    after a word such as "Tel." or "call", or with about as many digits as a number right before it. Dates, amounts,
    codes, versions and the like are left alone. `regions` are countries by two letters, such as "US", and need the
    extra `redaction`.
    """

    kinds: Collection[str] = frozenset({"phone"})

    def __init__(self, *, regions: Iterable[str] = ()) -> None:
        self._is_valid = _validity(regions)

    def find(self, text: str) -> Iterator[Finding]:
        if not _ENOUGH_DIGITS.search(text):
            return
        blanked = without_numerals(text)
        last: tuple[int, int] | None = None
        for run in _RUN.finditer(blanked):
            for start, end in _numbers(blanked, run):
                listed = last is not None and _is_next_of_a_list(text, last, (start, end))
                if listed or self._is_number(text, start, end):
                    last = start, end
                    extension = _EXTENSION.match(text, end)
                    yield Finding("phone", start, extension.end() if extension else end)

    def _is_number(self, text: str, start: int, end: int) -> bool:
        number, before = text[start:end], text[max(0, start - _CUE_REACH) : start]
        if number.count("/") > _MOST_SLASHES:
            return False
        if "+" in number or ")" in number:
            return True
        if NAMED_BEFORE.search(before):
            return False
        if _CUE.search(before):
            return True
        return ("." not in number or _DOTTED.fullmatch(number) is not None) and (
            _is_grouped(number) or self._is_valid(number)
        )


def _numbers(text: str, run: re.Match[str]) -> Iterator[tuple[int, int]]:
    """The numbers of the run; no half of a longer word, and no bracket that is not closed."""
    groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
    if _GOES_ON.match(text, run.end()) and not _EXTENSION.match(text, run.end()):
        groups.pop()
    for first, last in parted(text, groups):
        start, end = groups[first][0] if first else run.start(), groups[last][1]
        start -= first > 0 and text[start - 1] == "("
        is_open = text[start] == "(" and text.count("(", start, end) > text.count(")", start, end)
        yield start + is_open, end


def _is_next_of_a_list(text: str, last: tuple[int, int], number: tuple[int, int]) -> bool:
    """Whether the number stands right after another one and has as many digits, give or take one."""
    if not _LIST.fullmatch(text, last[1], number[0]):
        return False
    return abs(_digits(text[slice(*last)]) - _digits(text[slice(*number)])) <= 1


def _is_grouped(number: str) -> bool:
    return len(_GROUP.findall(number)) >= 3 or (number[0] == "0" and _digits(number) in _NATIONAL_DIGITS)


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


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
        raise ConfigurationError(f"regions need phonenumbers: {command_for('redaction')}") from None
    for region in wanted:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigurationError(f"regions: {printable(region)} is no country by two capital letters")

    def is_valid(text: str, region: str) -> bool:
        try:
            return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
        except phonenumbers.NumberParseException:
            return False

    return lambda text: _digits(text) >= _NATIONAL_DIGITS.start and any(is_valid(text, region) for region in wanted)

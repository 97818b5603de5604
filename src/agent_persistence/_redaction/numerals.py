"""Numbers that look like those of a telephone or a card and are none."""

from __future__ import annotations

import re
from typing import Final

_CURRENCY: Final = (
    r"(?:[€$£¥₩₺₽₹]|(?:EUR|USD|GBP|CHF|PLN|JPY|KRW|TRY|RUB|BRL|SEK|DKK|NOK|CNY|INR|CZK|HUF|euros?|dollars?|zł|kr|руб|TL)\b"
    r"|[円元원万億만])"
)
_YEAR: Final = r"(?:19|20)\d\d"
_DATES: Final = (
    rf"{_YEAR}([-/.])\d\d?\1\d\d?(?!\d)",
    rf"\d\d?([-/.])\d\d?\2(?:{_YEAR}|\d\d)(?!\d|[-/.]\d)",
    rf"{_YEAR}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?:[T_-]?[0-2]\d[0-5]\d(?:[0-5]\d)?)?(?!\d)",
    rf"(?<!\d[ )-]){_YEAR}(?:\s?[-/]\s?{_YEAR}){{1,5}}(?![-/]?\d)",
    rf"(?<!\d[ )-]){_YEAR}[-/]\d\d(?![-/\d])",
    r"\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?!\d)",
)
_ARTICLE: Final = (
    r"\b(?:ISBN|ISSN|EAN|UPC|GTIN|IMEI|SKU)\b[\s:#.-]{0,3}\d[\d -]*+",
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
)
_CODES: Final = (
    r"#\s?\w[\w/-]*+",
    r"(?<![A-Za-z0-9])(?!(?:tel|fone?|phone|fax|mobile?|cell|handy)\b)[A-Za-z][A-Za-z0-9]*+(?:[-_/][A-Za-z0-9]++)++",
    r"(?<![A-Za-z0-9])(?![xX]\d)[A-Za-z]++\d\w*+",
    rf"(?<!\d[ )-]){_YEAR}[-/]\d{{4,}}(?![-/ ]?\d)",
    rf"\d{{3,}}/{_YEAR}(?![\d/])",
    r"(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)",
    r"(?:https?|ftp)://(?!wa\.me/|api\.whatsapp\.com/)[^\s<>\"]++",
)
_AMOUNTS: Final = (
    rf"{_CURRENCY}\s?\d{{1,3}}(?:[ .,']?\d{{3}}){{0,5}}+(?:[.,]\d\d?)?(?!\d)",
    rf"(?<!\d )\d{{1,3}}(?:[ .,']?\d{{3}}){{0,5}}+(?:[.,]\d\d?)?\s?{_CURRENCY}",
    r"[1-9]\d{0,2}(?:[.,']\d{3}){2,5}(?:[.,]\d\d?)?(?![.,]?\d)",
    r"(?<!\d )[1-9]\d{0,2}(?: \d{3}){0,4} 000(?![ -]?\d)",
    r"(?<!\d[.,])-?\d{1,3}[.,]\d{4,}(?!\d|[.-]\d)",
)
_EPOCH: Final = r"(?<![)+.-])1[5-9]\d{8}(?:\d{3}|\d{6}|\d{9})?(?!\d|[ -]\d)"

_BLANK: Final = "\x1f"


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\d+])(?<!\d[-/.)])(?:{'|'.join(patterns)})", re.IGNORECASE)


_NO_CARD: Final = _any_of(*_ARTICLE)
_NO_PHONE: Final = _any_of(*_DATES, *_ARTICLE, *_CODES, *_AMOUNTS, _EPOCH)


def without_article_numbers(text: str) -> str:
    """The text, as long as before, with UUIDs and numbers of books, articles and devices blanked out."""
    return _blanked(_NO_CARD, text)


def without_numerals(text: str) -> str:
    """The text, as long as before, with dates, times, codes, amounts and the like blanked out."""
    return _blanked(_NO_PHONE, text)


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: _BLANK * len(found[0]), text)

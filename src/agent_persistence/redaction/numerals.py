"""Numbers that look like those of a telephone or a card and are none."""

from __future__ import annotations

import re
from typing import Final

_CURRENCY: Final = (
    r"(?:[€$£¥₩₺₽₹]|(?:EUR|USD|GBP|CHF|PLN|JPY|KRW|TRY|RUB|BRL|SEK|DKK|NOK|CNY|INR|CZK|HUF|euros?|dollars?|zł|kr|руб|TL)\b"
    r"|[円元원万億만])"
)
_YEAR: Final = r"(?:19|20)\d\d"
_SIGNS: Final = ("-", "/", r"\. ?")
_YEAR_FIRST: Final = "|".join(rf"{_YEAR}{sign}\d\d?{sign}\d\d?" for sign in _SIGNS)
_YEAR_LAST: Final = "|".join(rf"\d\d?{sign}\d\d?{sign}(?:{_YEAR}|\d\d)" for sign in _SIGNS)
_DAY: Final = rf"{_YEAR_FIRST}|{_YEAR_LAST}|{_YEAR}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])"
_SPACED_DAY: Final = (
    rf"{_YEAR} (?:0[1-9]|1[0-2]) (?:0[1-9]|[12]\d|3[01])|(?:0?[1-9]|[12]\d|3[01]) (?:0?[1-9]|1[0-2]) {_YEAR}"
)
_DATES: Final = (
    rf"(?:{_DAY})\s?[-/]\s?(?:{_DAY})(?!\d|[/.]\d)",
    rf"(?:{_YEAR_FIRST})(?!\d)",
    rf"(?:{_YEAR_LAST})(?!\d|[-/.]\d)",
    rf"(?<!\d[ )-])(?:{_SPACED_DAY})(?![ ./-]?\d)",
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
    r"(?<![A-Za-z0-9])(?!(?:tel|fone?|phone|fax|mobile?|cell|handy)\b)[A-Za-z][A-Za-z0-9]*+(?:[-_/][A-Za-z0-9]++)++(?:\.\d++)*+",
    r"(?<![A-Za-z0-9])(?![xX]\d)[A-Za-z]++\d\w*+(?:\.\d++)*+",
    rf"(?<!\d[ )-]){_YEAR}(?:[-/]\d{{4,}})+(?![-/ ]?\d)",
    r"\d{3}-\d{7}-\d{7}(?![-\d])",
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

_VERSION: Final = (
    r"(?:\b(?:versions?|versión|versione|versão|versie|wersja|sürüm|ver\.?|v\.?|rel(?:ease)?|build|rev|firmware|section|sec\.|"
    r"chapter|clause|rfc|kapitel|abschnitt|artikel|article)|версия|版本|バージョン|버전|§)"
)
_REFERENCE: Final = (
    r"\b(?:invoice|ticket|tracking|serial|reference|ref|rechnung|aktenzeichen|vorgang|facture|dossier|factura|fattura|"
    r"faktura|fatura|order|customer|case|account|bestell|auftrags?|kunden|commande|pedido|ordine|zamówienie|заказ|sipariş)"
    r"(?:s?(?:nummer|nr\.?)|\s(?:numbers?|num|no|nr|id|code|n[°º]|№|número|numero|numer|номер|numarası)\b\.?)"
    r"|\b(?:invoice|ticket|tracking|serial|rechnung|aktenzeichen|facture|factura|fattura|faktura|fatura)"
)
VERSION_BEFORE: Final = re.compile(rf"{_VERSION}[\s:#=]*$", re.IGNORECASE)
"""What says of the digits after it that they are a version or a section."""
NAMED_BEFORE: Final = re.compile(rf"(?:{_VERSION}|{_REFERENCE})[\s:#=]*$", re.IGNORECASE)
"""The same, or that they are the number of an order, an invoice and the like."""

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

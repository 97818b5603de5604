"""Which encoding a text is in, by its first bytes. Pure."""

from __future__ import annotations

import codecs
import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

_MARKS: Final = (
    codecs.BOM_UTF8,
    codecs.BOM_UTF32_LE,
    codecs.BOM_UTF32_BE,
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)
_OTHERS: Final = ("cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "big5", "cp949")
_LONE: Final = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_WESTERN: Final = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŒœŠšŽžŸ€–—‘’“”„…«»°²³µ§©®™¿¡£ªº· ]")


class FoundEncoding(NamedTuple):
    """The encoding, None where a mark or UTF-8 itself shows it; and whether it was only inferred."""

    name: str | None
    is_guessed: bool


def found_encoding(head: bytes, *, is_whole: bool) -> FoundEncoding | None:
    """The encoding of a text that begins with these bytes; None where nothing fits.

    UTF-8 and marked texts are certain. UTF-16 without a mark is seen by its zeros, Western European by its letters, and
    others by charset-normalizer, where the extra `files` is installed: these are guesses.
    """
    if head.startswith(_MARKS):
        return FoundEncoding(None, is_guessed=False)
    wide = _wide(head)
    if wide is not None:
        return FoundEncoding(wide, is_guessed=True)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError:
        narrow = _narrow(head)
        return None if narrow is None else FoundEncoding(narrow, is_guessed=True)
    return FoundEncoding(None, is_guessed=False)


def _wide(head: bytes) -> str | None:
    """UTF-16 whose every second byte is mostly zero, as it is in texts of Latin letters."""
    even, odd = head[0:4096:2], head[1:4096:2]
    if not odd:
        return None
    zeros = even.count(0) / len(even), odd.count(0) / len(odd)
    if zeros[1] > 0.4 and zeros[0] < 0.1:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.4 and zeros[1] < 0.1 else None


def _narrow(head: bytes) -> str | None:
    """One byte a character: Western where single ones stand among ASCII and are letters or signs of texts."""
    if b"\0" in head:
        return None
    high = sum(byte >= 0x80 for byte in head)
    lone = _LONE.findall(head)
    if len(lone) > high * 0.6:
        letters = b"".join(lone).decode("cp1252", errors="replace")
        if len(_WESTERN.findall(letters)) > 0.95 * len(letters) and not _is_eastern(head):
            return "cp1252"
    return _by_charset_normalizer(head)


_EASTERN_PLACES: Final = re.compile(
    rb"[\xa3\x8c\x8f\xaf\xa5\xb3\x9c\x9f\xbf\xb9](?=[A-Za-z])|(?<=[a-z])[\xb3\xb9\xbf\x9f\x9c](?=[a-z])"
)


def _is_eastern(head: bytes) -> bool:
    """Whether bytes that are signs in Western texts stand where letters do, as in Polish words."""
    return bool(_EASTERN_PLACES.search(re.sub(rb"\xa3(?=\s?\d)", b"", head)))


def _by_charset_normalizer(head: bytes) -> str | None:
    if find_spec("charset_normalizer") is None:
        return None
    known: Any = import_module("charset_normalizer")
    best = known.from_bytes(head, cp_isolation=["cp1252", *_OTHERS]).best()
    return None if best is None else str(best.encoding)

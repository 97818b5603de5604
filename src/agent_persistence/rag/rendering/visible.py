"""Texts of any content as texts that show all they hold: NFC, `\\n` line ends, nothing invisible, nothing illegal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_LINE_ENDS: Final = re.compile("\r\n?|[\x85\u2028\u2029]")
_VARIATION_SELECTORS: Final = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x034F)))
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_PLAIN: Final = re.compile("[\n\t -~]*")


def visible(text: str) -> str:
    """The text without format characters (bidi, zero width, tags), U+FFFD for controls, surrogates, noncharacters.

    Variation selectors and blank letters, in which bytes can be hidden, are left out as well. The same text again where
    it is visible already.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = "".join(map(_shown, _LINE_ENDS.sub("\n", text)))
    return unicodedata.normalize("NFC", text)


def visible_value(value: Any) -> Any:
    """The value with every text in it visible, keys of JSON objects included; of equal keys the last counts."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): visible_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible_value(item) for item in value]
    return value


def _shown(character: str) -> str:
    if character in "\n\t":
        return character
    if character in _VARIATION_SELECTORS or character in _BLANK_LETTERS:
        return ""
    match unicodedata.category(character):
        case "Cf":
            return ""
        case "Cc" | "Cs":
            return _REPLACEMENT
        case "Cn" if ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
            return _REPLACEMENT
        case _:
            return character

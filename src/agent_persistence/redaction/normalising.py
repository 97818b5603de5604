"""When two spellings are one value."""

from __future__ import annotations

import re
from typing import Final

from agent_persistence.redaction.folding import fold, fold_name

_NO_DIGITS: Final = re.compile(r"\D+")
_NO_CHARACTERS: Final = re.compile(r"[\W_]+")


def normalised(kind: str, value: str) -> str:
    """The value in one spelling: phone numbers and cards as digits, IBANs without blanks, credentials as they are,
    all else without case."""
    match kind:
        case "credential":
            return value
        case "phone" | "card":
            digits = _NO_DIGITS.sub("", fold(value).text)
            return digits.removeprefix("00") or fold_name(value).text
        case "iban":
            return _NO_CHARACTERS.sub("", fold(value).text).upper()
        case "email" | "ip":
            return fold(value).text.strip().casefold()
        case _:
            return fold_name(fold(value).text).text.strip()

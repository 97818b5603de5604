"""PostgreSQL's bytea, in the hexadecimal form in which it is printed and ordered (byteain in varlena.c)."""

from __future__ import annotations

import re
from typing import Final

from agent_persistence.backends.memory.refusals import NotOfTypeError

_BLANK: Final = re.compile(r"[ \t\n\r]+")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_ESCAPED: Final = re.compile(r"[^\\]+|\\\\|\\[0-3][0-7]{2}")


def read_bytes(text: str) -> str:
    r"""`\x` and two digits a byte, blanks between bytes; else the text's own bytes, with `\\` and `\ooo`."""
    if text.startswith("\\x"):
        groups = _BLANK.split(text[2:])
        if not all(map(_HEX.fullmatch, groups)):
            raise NotOfTypeError("22023", "bytea")
        return "\\x" + "".join(groups).lower()
    pieces = _ESCAPED.findall(text)
    if sum(map(len, pieces)) != len(text):
        raise NotOfTypeError("22P02", "bytea")
    return "\\x" + b"".join(map(_unescaped, pieces)).hex()


def _unescaped(piece: str) -> bytes:
    if not piece.startswith("\\"):
        return piece.encode()
    return b"\\" if piece == "\\\\" else bytes([int(piece[1:], 8)])

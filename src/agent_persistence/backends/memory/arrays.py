"""PostgreSQL's text form of arrays, `{a,"b,c",NULL}` (ReadArrayStr in arrayfuncs.c)."""

from __future__ import annotations

import re
from typing import Final

from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError

_BLANK: Final = " \t\n\r\v\f"
_ITEM: Final = re.compile(
    r"""\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>(?:[^\\{}",\s]|\\.)(?:(?:[^\\{}",]|\\.)*(?:[^\\{}",\s]|\\.))?))\s*
        (?P<end>[,}])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def array_items(text: str) -> list[str | None]:
    """The texts of the elements, None for NULL; 22P02 for what is no array of one dimension."""
    body = text.strip(_BLANK)
    if body.startswith("[") and "{" in body:
        raise TwinCannotTellError("arrays with bounds of their own")
    if not body.startswith("{"):
        raise NotOfTypeError("22P02", "array")
    if body[1:].strip(_BLANK) == "}":
        return []
    items: list[str | None] = []
    at, end = 1, ","
    while end == ",":
        found = _ITEM.match(body, at)
        if found is None:
            raise _not_an_item(body[at:])
        items.append(_item(found))
        at, end = found.end(), found["end"]
    if at != len(body):
        raise NotOfTypeError("22P02", "array")
    return items


def _not_an_item(rest: str) -> ValueError:
    if rest.lstrip(_BLANK).startswith("{"):
        return TwinCannotTellError("arrays of more than one dimension")
    return NotOfTypeError("22P02", "array")


def _item(found: re.Match[str]) -> str | None:
    if found["quoted"] is not None:
        return _ESCAPE.sub(r"\1", found["quoted"])
    return None if found["plain"].lower() == "null" else _ESCAPE.sub(r"\1", found["plain"])

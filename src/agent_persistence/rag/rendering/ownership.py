"""Which parts of a page are which record's. Pure.

A page is written once more with marks around the lines of each record. The marks are noncharacters, which no content
has, since `visible` replaces them. The boundary differs between the two, and is as long in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent_persistence.rag.rendering.shown import Format, PromptContent, Shown

_BEGIN, _NAMED, _END = "\ufdd0", "\ufdd1", "\ufdd2"
_MARK: Final = re.compile(f"{_BEGIN}([^{_NAMED}]*){_NAMED}|{_END}")


def parts(form: Format, page: PromptContent, text: str) -> list[tuple[str, str]]:
    """The text of the page in parts, each with the reference of its record; "" where it is no record's.

    `form` is not to be used for anything else afterwards.
    """
    found: list[tuple[str, str]] = []
    owners = [""]
    at = 0
    for owner, length in _lengths(_marked(form, page)):
        if owner is None:
            owners.pop()
        elif length is None:
            owners.append(owner)
        else:
            found.append((owners[-1], text[at : at + length]))
            at += length
    return _joined([*found, ("", text[at:])])


def _marked(form: Format, page: PromptContent) -> str:
    write = form.lines

    def lines(shown: Shown, depth: int) -> Iterator[str]:
        for line in write(shown, depth):
            yield f"{_BEGIN}{shown.record.ref}{_NAMED}{line}{_END}"

    form.lines = lines  # type: ignore[method-assign]
    return form.document(page)


def _lengths(marked: str) -> Iterator[tuple[str | None, int | None]]:
    """Of what begins the owner, of what ends nothing, and between them the number of characters."""
    at = 0
    for mark in _MARK.finditer(marked):
        if mark.start() > at:
            yield "", mark.start() - at
        yield mark[1], None
        at = mark.end()
    yield "", len(marked) - at


def _joined(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    joined: list[tuple[str, str]] = []
    for owner, text in found:
        if joined and joined[-1][0] == owner:
            joined[-1] = (owner, joined[-1][1] + text)
        elif text:
            joined.append((owner, text))
    return joined

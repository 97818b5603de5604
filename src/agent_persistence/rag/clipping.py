"""Long texts in parts, so that a part of a text can be shown where the whole is too long. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from agent_persistence.rag.rendering.shown import CUT
from agent_persistence.rag.tokens import TokenCounter

_SENTENCE_END: Final = re.compile(r"(?<!\n\d\.)(?<!\n\d\d\.)(?<=[.!?…।؟])[\"'»”’)\]]*\s+|(?<=[。！？])|\n+")
_WORD_END: Final = re.compile(r"(?<=\S)(?=\s)")
_LEAST_WORTH_CUTTING: Final = 1.5
_ASCII_A_TOKEN: Final = 3
_CHARACTERS_A_TOKEN: Final = 2


def parts(text: str, size: int, counter: TokenCounter) -> list[str]:
    """The text cut at ends of sentences into parts of about `size` tokens, which joined are the text again.

    A sentence that is much longer is cut between words, and a word that is much longer anywhere. A text that is not
    much longer than `size` is one part.
    """
    most = int(size * _LEAST_WORTH_CUTTING)
    if len(text) <= size * (_ASCII_A_TOKEN if text.isascii() else 1) or counter.count(text) <= most:
        return [text]
    found = [""]
    used = 0
    for sentence in _sentences(text, size, counter):
        cost = counter.count(sentence)
        if found[-1] and used + cost > size:
            found.append("")
            used = 0
        found[-1] += sentence
        used += cost
    return found


def joined(pieces: Sequence[str], places: Collection[int]) -> str:
    """The text of the pieces at these places, with a mark wherever others are missing."""
    if len(places) == len(pieces):
        return "".join(pieces)
    shown = ""
    for place, piece in enumerate(pieces):
        if place in places:
            shown += f" {piece.lstrip()}" if shown.endswith(CUT) else piece
        elif not shown.endswith(CUT):
            shown = f"{shown.rstrip()} {CUT}".lstrip()
    return shown


def _sentences(text: str, size: int, counter: TokenCounter) -> Iterator[str]:
    for sentence in _split(_SENTENCE_END, text):
        if counter.count(sentence) <= size:
            yield sentence
            continue
        for word in _split(_WORD_END, sentence):
            if counter.count(word) <= size:
                yield word
            else:
                step = max(size // _CHARACTERS_A_TOKEN, 1)
                yield from (word[at : at + step] for at in range(0, len(word), step))


def _split(end: re.Pattern[str], text: str) -> Iterator[str]:
    start = 0
    for match in end.finditer(text):
        if match.end() > start:
            yield text[start : match.end()]
            start = match.end()
    if start < len(text):
        yield text[start:]

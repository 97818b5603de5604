"""E-mail addresses (RFC 5321 and 6531, as people write them)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final

from agent_persistence.redaction.findings import Finding

_AT: Final = re.compile(r"(\"[^\"\r\n@]{1,64}\")?@")
_LATIN: Final = "A-Za-z0-9\u00aa-\u052f\u1c80-\u1c8f\u1d00-\u1fff\u2c60-\u2c7f\u2de0-\u2dff\ua640-\ua69f\ua720-\ua7ff"
"""Letters of Latin, Greek and Cyrillic, which look alike; a sentence in another script may go on right after them."""
_OTHER: Final = re.compile(rf"[^{_LATIN}.!$%&'+_~-]")
_SCRIPT_CHANGES: Final = re.compile(rf"(?<=[{_LATIN}])(?=[^{_LATIN}._-])|(?<=[^{_LATIN}._-])(?=[{_LATIN}])")
_LITERAL: Final = re.compile(r"\[[0-9A-Fa-f:.IPv]{3,45}\]")
_IMAGE: Final = re.compile(r"\d+x\.(?:png|jpe?g|webp|gif|svg|avif)", re.IGNORECASE)
_PUNYCODE: Final = re.compile(r"xn--[a-z0-9-]+", re.IGNORECASE)
_IN_LOCAL_PARTS: Final = frozenset(".!$%&'+_~-")
_IN_DOMAINS: Final = frozenset(".-_")
_LONGEST_DOMAIN: Final = 255
"""Characters of a domain (RFC 1035)."""


class Emails:
    """Finds e-mail addresses with letters of any script, marks of vowels included.

    Where a sentence goes on in another script, the address ends; in the same script, the rest of the word is taken too.
    """

    kinds: Collection[str] = frozenset({"email"})

    def find(self, text: str) -> Iterator[Finding]:
        for at in _AT.finditer(text):
            start = at.start() if at[1] else _local_start(text, at.start())
            end = _domain_end(text, at.end()) if start < at.end() - 1 else None
            if end:
                yield Finding("email", start, end)


def _local_start(text: str, at: int) -> int:
    """Where the local part before the at sign begins; `at` where there is none."""
    start = at
    while start and _is_part(text[start - 1], _IN_LOCAL_PARTS):
        start -= 1
    local = text[start:at]
    tail = max((other.end() for other in _OTHER.finditer(local)), default=0)
    if any(map(str.isalpha, local[tail:])):
        local = local[tail:]
    return at - len(local.lstrip(".!$%&'+~-"))


def _domain_end(text: str, start: int) -> int | None:
    """Where the domain at `start` ends; None where there is none."""
    literal = _LITERAL.match(text, start)
    if literal:
        return literal.end()
    end, limit = start, min(len(text), start + _LONGEST_DOMAIN)
    while end < limit and _is_part(text[end], _IN_DOMAINS) and text[end : end + 2] != "..":
        end += 1
    domain = text[start:end]
    for length in (*(change.start() for change in _SCRIPT_CHANGES.finditer(domain)), len(domain.rstrip(".-_"))):
        if _is_domain(domain[:length]):
            return start + length
    return None


def _is_domain(domain: str) -> bool:
    """Whether a top-level domain of two letters or more ends it; `logo@2x.png` names a file."""
    _, dot, top = domain.rpartition(".")
    if not dot or _IMAGE.fullmatch(domain):
        return False
    is_word = len(top) > 1 and all(unicodedata.category(character)[0] in "LM" for character in top)
    return is_word or _PUNYCODE.fullmatch(top) is not None


def _is_part(character: str, signs: Collection[str]) -> bool:
    """Whether a letter, a mark of one, a digit or one of the signs."""
    if character.isascii():
        return character.isalnum() or character in signs
    return unicodedata.category(character)[0] in "LM"

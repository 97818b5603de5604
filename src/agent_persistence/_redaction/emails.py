"""E-mail addresses (RFC 5321 and 6531, as people write them)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from agent_persistence._redaction.findings import Finding

_LETTERS: Final = "A-Za-z0-9\u00aa-\u024f\u0300-\u036f\u0370-\u052f\u1e00-\u1fff"
"""Letters of scripts that set blanks between words; a Japanese sentence goes on right after an address."""
_START: Final = re.compile(rf"(?:\"[^\"\r\n@]{{1,64}}\"|(?<![{_LETTERS}.!$%&'+_~-])[{_LETTERS}.!$%&'+_~-]++)@")
_DOMAIN: Final = re.compile(rf"(?:[{_LETTERS}_-]++\.?)++")
_WIDE_DOMAIN: Final = re.compile(r"[\w-]++(?:\.[\w-]++)*\.[A-Za-z]{2,63}")
_LITERAL: Final = re.compile(r"\[[0-9A-Fa-f:.IPv]{3,45}\]")
_TOP_LEVEL: Final = re.compile(r"(?:xn--[a-z0-9-]+|[^\W\d_]{2,63})", re.IGNORECASE)
_IMAGE: Final = re.compile(r"\d+x\.(?:png|jpe?g|webp|gif|svg|avif)", re.IGNORECASE)


class Emails:
    """Finds e-mail addresses, also with letters outside ASCII and with look-alikes of other scripts."""

    kinds: Collection[str] = frozenset({"email"})

    def find(self, text: str) -> Iterator[Finding]:
        for local in _START.finditer(text):
            start = local.end() - len(local[0].lstrip(".!$%&'+~-"))
            if text[start] == "@":
                continue
            end = _domain_end(text, local.end())
            if end:
                yield Finding("email", start, end)


def _domain_end(text: str, start: int) -> int | None:
    """Where the domain at `start` ends; None where there is none."""
    literal = _LITERAL.match(text, start)
    if literal:
        return literal.end()
    for pattern in (_DOMAIN, _WIDE_DOMAIN):
        found = pattern.match(text, start)
        if found:
            domain = found[0].rstrip(".-_")
            if "." in domain and _TOP_LEVEL.fullmatch(domain.rpartition(".")[2]) and not _IMAGE.fullmatch(domain):
                return start + len(domain)
    return None

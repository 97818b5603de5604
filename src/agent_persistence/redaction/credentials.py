"""Keys, tokens, passwords and other texts that let in whoever has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final

from agent_persistence.redaction.assignments import assigned_values, is_made
from agent_persistence.redaction.findings import Finding

_TOKEN: Final = re.compile(
    r"""
    (?<![A-Za-z0-9])(?:
      sk-(?:ant|proj|svcacct|admin|or|live|test)-[\w-]{16,}+                        # OpenAI, Anthropic and others
      | sk-(?=[a-z]{0,31}[A-Z0-9]|[a-z]{32})[A-Za-z0-9]{20,}[\w-]*+
      | sb_secret_[\w-]{8,}+ | sbp_[A-Za-z0-9]{20,}+                                # Supabase
      | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])                                    # AWS
      | gh[opusr]_[A-Za-z0-9]{20,}+ | github_pat_\w{20,}+ | glpat-[\w-]{20,}+       # GitHub, GitLab
      | xox[abeoprs]-[A-Za-z0-9-]{10,}+ | xapp-\d-[A-Za-z0-9-]{10,}+                # Slack
      | [sr]k_(?:live|test)_[A-Za-z0-9]{10,}+ | whsec_[A-Za-z0-9+/=]{16,}+          # Stripe
      | AIza[\w-]{35} | GOCSPX-[\w-]{20,}+                                          # Google
      | npm_[A-Za-z0-9]{36} | pypi-[\w-]{50,}+ | hf_[A-Za-z0-9]{30,}+
      | SG\.[\w-]{16,}+\.[\w-]{16,}+
    )
    | (?<![A-Za-z0-9_-])(?:eyJ|eyAi|ewog|ewo[JN]|ew0K)[\w-]{4,}+                    # JSON Web Token (RFC 7515, 7516)
      (?:(?:\.{1,2}[\w-]{2,}+){2,4}|\.ey[\w-]{4,}+)
    """,
    re.VERBOSE | re.ASCII,
)
_MARKS: Final = (
    *("sk-", "sb_secret_", "sbp_", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
    *("xox", "xapp-", "k_live_", "k_test_", "whsec_", "AIza", "GOCSPX-", "npm_", "pypi-", "hf_", "SG.", "ey", "ew"),
)
"""A text without any of them, which is quickly seen, holds no token of a known form."""
_USER: Final = r"[^\s:/?#@\"'<>`]{0,128}"
_HOST: Final = r"[\w.:%,\[\]-]{0,255}+"
_URL: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?:(?:https?|wss?|ftps?)://({_USER}:([^\s/?#\"'<>`]{{1,256}})@{_HOST})"
    rf"|(?!https?:|wss?:|ftps?:)[A-Za-z][A-Za-z0-9+.-]{{1,30}}://({_USER}:([^\s\"'<>`]{{1,256}})@{_HOST}))",
    re.IGNORECASE,
)
_HIDDEN: Final = re.compile(r"\*+|[xX]{3,}|\.{3,}|\$?\{.*\}|\$[A-Z_]+|%\w|\[.*\]")
_BEARER: Final = re.compile(
    r"\b(?:bearer|authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:basic|bearer|token|apikey)?)\s{1,4}([\w.~+/=-]{8,}+)",
    re.IGNORECASE | re.ASCII,
)
_KEY_BEGINS: Final = r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_KEY_ENDS: Final = r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_BETWEEN: Final = r"(?:[\s>|\"'+,]|\\[nrt])*+"
_PRIVATE_KEY: Final = re.compile(
    rf"{_KEY_BEGINS}(?:(?:[A-Za-z0-9+/=\s:,.>|\"'\\]|-(?!-))*+{_KEY_ENDS}"
    rf"|(?:{_BETWEEN}[A-Z][A-Za-z-]{{2,20}}:[^\n\\]{{1,80}})*+(?:{_BETWEEN}[A-Za-z0-9+/=]{{16,}}+)++)"
)


class Credentials:
    """Finds tokens by the form that their maker gave them, private keys, and passwords by what stands before them.

    Of a URL with a password, user, password and host are found. Keys that are made to be public, such as
    `sb_publishable_…`, are left alone, and so are words that only stand for a secret, such as `$PASSWORD`.
    """

    kinds: Collection[str] = frozenset({"credential"})

    def find(self, text: str) -> Iterator[Finding]:
        for start, end in chain(_tokens(text), _in_urls(text), assigned_values(text)):
            yield Finding("credential", start, end)


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    if any(mark in text for mark in _MARKS):
        yield from (found.span() for found in _TOKEN.finditer(text))
    if "PRIVATE KEY" in text:
        yield from (found.span() for found in _PRIVATE_KEY.finditer(text))
    for found in _BEARER.finditer(text):
        if is_made(found[1]):
            yield found.span(1)


def _in_urls(text: str) -> Iterator[tuple[int, int]]:
    if "://" not in text:
        return
    for found in _URL.finditer(text):
        group = 1 if found[1] else 3
        if not _HIDDEN.fullmatch(found[group + 1]):
            yield found.span(group)

"""Comments that allow a rule at some lines, for a reason."""

from __future__ import annotations

import io
import re
import sys
import tokenize
from dataclasses import dataclass, field
from typing import Final

_PRAGMA: Final = re.compile(r"#\s*persistence-guard\b:?(.*)")
_ALLOW: Final = re.compile(r"\s*allow(-file)?\s+((?:AP00[123][\s,]+)*AP00[123])(?:[\s,:]+(\S.*))?$")


@dataclass
class Pragma:
    """A comment that allows rules at some lines; `problem` says why it does not."""

    line: int
    column: int
    rules: frozenset[str]
    problem: str | None
    lines: range
    used: set[str] = field(default_factory=set)


def pragmas(text: str) -> list[Pragma]:
    """Every pragma of a source text. Alone on its line it holds for the next line of code as well."""
    found: list[Pragma] = []
    waiting: list[Pragma] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line, column = token.start
        if token.type == tokenize.COMMENT:
            if match := _PRAGMA.search(token.string):
                found.append(_pragma(match[1], line, column + 1))
                if found[-1].lines == range(line, line + 1) and not token.line[:column].strip():
                    waiting.append(found[-1])
        elif token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            for pragma in waiting:
                pragma.lines = range(pragma.line, line + 1)
            waiting.clear()
    return found


def _pragma(text: str, line: int, column: int) -> Pragma:
    match = _ALLOW.fullmatch(text.rstrip())
    problem = None
    if match is None:
        problem = "this pragma is not understood: write  # persistence-guard: allow AP002 reason"
    elif not match[3]:
        problem = f"this pragma needs a reason: write  # persistence-guard: allow{match[1] or ''} {match[2]} reason"
    if match is None or problem:
        return Pragma(line, column, frozenset(), problem, range(0))
    lines = range(1, sys.maxsize) if match[1] else range(line, line + 1)
    return Pragma(line, column, frozenset(re.findall(r"AP00\d", match[2])), None, lines)

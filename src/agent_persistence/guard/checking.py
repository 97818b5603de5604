"""One file checked: its findings, less those that its place or a pragma allows."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from agent_persistence.guard.bindings import Module
from agent_persistence.guard.findings import Violation
from agent_persistence.guard.places import Places
from agent_persistence.guard.pragmas import Pragma, pragmas
from agent_persistence.guard.resolving import Resolver
from agent_persistence.guard.rules import broken_rules
from agent_persistence.guard.sources import UncheckableError


def check(path: Path, shown: PurePosixPath, places: Places, resolver: Resolver) -> list[Violation]:
    """What is wrong in one file; that it cannot be checked is a finding as well."""
    name = str(shown)
    try:
        module = resolver.load(path)
        return list(_findings(module, name, places.allow(shown), resolver))
    except UncheckableError as problem:
        return [Violation(name, problem.line, 1, "AP000", f"cannot be checked: {problem}")]
    except (RecursionError, tokenize.TokenError, SyntaxError) as error:
        return [Violation(name, 1, 1, "AP000", f"cannot be checked: {type(error).__name__}: {error}")]


def _findings(module: Module, name: str, allowed: frozenset[str], resolver: Resolver) -> Iterator[Violation]:
    notes = pragmas(module.text) if "persistence-guard" in module.text else []
    for call, place, statement in module.calls:
        for rule, message in broken_rules(call, place, resolver):
            if rule not in allowed and not _is_allowed(rule, call, statement, notes):
                yield Violation(name, call.lineno, _column(call, module), rule, message)
    for note in notes:
        unused = sorted(note.rules - note.used)
        problem = note.problem or (f"this pragma allows {', '.join(unused)}, which is not found here" if unused else "")
        if problem:
            yield Violation(name, note.line, note.column, "AP000", problem)


def _column(call: ast.Call, module: Module) -> int:
    """In characters, from 1; the syntax tree counts bytes of UTF-8, from 0."""
    line = module.text.split("\n", call.lineno)[call.lineno - 1]
    return len(line.encode()[: call.col_offset].decode(errors="replace")) + 1


def _is_allowed(rule: str, call: ast.Call, statement: int, notes: list[Pragma]) -> bool:
    lines = (statement, *range(call.lineno, (call.end_lineno or call.lineno) + 1))
    fitting = [note for note in notes if rule in note.rules and any(line in note.lines for line in lines)]
    for note in fitting:
        note.used.add(rule)
    return bool(fitting)

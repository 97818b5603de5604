"""What an expression may stand for."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TypeAlias

from agent_persistence.guard.bindings import Module, Place


@dataclass(frozen=True)
class Foreign:
    """Something of a module that is not looked into, by its dotted name."""

    name: str

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, eq=False)
class Items:
    """A literal collection: its elements, and a mapping's values."""

    nodes: tuple[tuple[ast.AST, Place], ...]
    mapped: tuple[tuple[ast.AST, Place], ...] = ()


@dataclass(frozen=True, eq=False)
class ClassHere:
    """A class that the source shows, and where."""

    node: ast.ClassDef
    place: Place


@dataclass(frozen=True)
class Verb:
    """A method by one of the writing names; `table` where its owner stands for one."""

    name: str
    table: str | None = None


@dataclass(frozen=True)
class TableHandle:
    """What `agent.table(…)` or `client.table(…)` returns for a governance table."""

    name: str


Value: TypeAlias = str | Foreign | Items | ClassHere | Module | Verb | TableHandle

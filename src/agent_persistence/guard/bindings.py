"""Names: where they are bound, and which bindings reach a place."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False)
class Block:
    """Statements that run together or not at all: a body, a branch, a handler."""

    parent: Block | None = None
    loop: bool = False

    def within(self, other: Block) -> bool:
        block: Block | None = self
        while block is not None and block is not other:
            block = block.parent
        return block is other

    def loops(self) -> Iterator[Block]:
        block: Block | None = self
        while block is not None:
            if block.loop:
                yield block
            block = block.parent


@dataclass(eq=False)
class LexicalScope:
    """A module, class or function, and what its names are bound to, in order."""

    module: Module
    parent: LexicalScope | None = None
    is_class: bool = False
    names: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    """Modules of which everything was imported."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where an expression stands: only what is bound before it, or in the same loop, can reach it."""

    scope: LexicalScope
    block: Block
    order: int


@dataclass(frozen=True, eq=False)
class Binding:
    """A name gets the value of `node`, or each of its elements, or a part of those."""

    place: Place
    node: ast.AST | None
    how: str = "value"
    """value, element, import, class, or unknown"""
    index: tuple[int, ...] = ()


@dataclass(eq=False)
class Module:
    """A file's syntax tree, its scope, and the calls in it."""

    path: Path
    text: str
    tree: ast.Module
    scope: LexicalScope = field(init=False)
    calls: list[tuple[ast.Call, Place, int]] = field(default_factory=list)
    classes: dict[ast.ClassDef, LexicalScope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scope = LexicalScope(self)


def reaching(scope: LexicalScope, bindings: Sequence[Binding], place: Place) -> Iterator[Binding]:
    """The bindings that may hold at the place: backwards to the first that surely replaced those before it."""
    before = bisect_left(bindings, place.order, key=lambda binding: binding.place.order)
    loop = next(iter([*place.block.loops()][-1:]), None)
    if loop is not None:
        yield from (binding for binding in bindings[before:] if binding.place.block.within(loop))
    for number in range(before - 1, -1, -1):
        yield bindings[number]
        if bindings[number].place.scope is scope and place.block.within(bindings[number].place.block):
            return

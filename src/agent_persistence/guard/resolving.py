"""What expressions may stand for, following names through the files that import each other."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from agent_persistence.guard.bindings import Binding, Block, LexicalScope, Module, Place, reaching
from agent_persistence.guard.expressions import READERS
from agent_persistence.guard.imports import NOT_READ, ImportedFiles, join, split
from agent_persistence.guard.known import (
    ADAPTERS,
    GOVERNANCE_TABLES,
    KNOWN_CONSTANTS,
    MAX_DEPTH,
    MAX_MODULES,
    MAX_VALUES,
    RAW_NAMES,
    TABLE_VERBS,
    VERBS,
)
from agent_persistence.guard.sources import UncheckableError, parse
from agent_persistence.guard.values import ClassHere, Foreign, Items, TableHandle, Value, Verb


class Resolver:
    """Tells what expressions may stand for, following names through the files that import each other."""

    def __init__(self, root: Path) -> None:
        self._files = ImportedFiles(root)
        self._modules: dict[Path, Module] = {}
        self._memo: dict[Module, dict[int, tuple[Value, ...]]] = {}

    def values(self, node: ast.AST | None, place: Place, depth: int = 0) -> tuple[Value, ...]:
        """Every value the expression may have at this place, as far as the source shows them."""
        kind = type(node)
        if kind is ast.Constant:
            value = node.value  # type: ignore[union-attr]
            return (value,) if type(value) is str else ()
        reader = READERS.get(kind)
        if node is None or reader is None or depth > MAX_DEPTH:
            return ()
        memo = self._memo.setdefault(place.scope.module, {})
        found = memo.get(id(node))
        if found is None:
            memo[id(node)] = ()  # a name that is bound to itself adds nothing
            found = memo[id(node)] = tuple(islice(reader(self, node, place, depth + 1), MAX_VALUES))
        return found

    def texts(self, node: ast.AST | None, place: Place, depth: int = 0) -> tuple[str, ...]:
        """Those of the values that are texts."""
        return tuple(value for value in self.values(node, place, depth) if isinstance(value, str))

    def elements(self, node: ast.AST | None, place: Place, depth: int) -> Iterator[tuple[ast.AST, Place]]:
        """The elements of those of the values that are collections."""
        for value in self.values(node, place, depth):
            if isinstance(value, Items):
                yield from value.nodes

    def bound(self, scope: LexicalScope, name: str, place: Place | None, depth: int) -> Iterator[Value]:
        """What the scope's name may stand for at the place; at the end of the scope, if that is None."""
        bindings: Iterable[Binding] = scope.names.get(name, ())
        if place is not None and place.scope is scope:
            bindings = reaching(scope, scope.names[name], place)
        for binding in bindings:
            match binding.how:
                case "value":
                    parts = [(binding.node, binding.place)]
                case "element":
                    parts = list(self.elements(binding.node, binding.place, depth))
                case "class" if isinstance(binding.node, ast.ClassDef):
                    yield ClassHere(binding.node, binding.place)
                    continue
                case "import" if isinstance(binding.node, ast.Name):
                    yield from self.imported(binding.node.id, binding.place.scope.module, depth)
                    continue
                case _:
                    continue
            for number in binding.index:
                parts = [chosen for part in parts for chosen in self._part(*part, number, depth)]
            for part in parts:
                yield from self.values(*part, depth)

    def _part(self, node: ast.AST | None, place: Place, number: int, depth: int) -> Iterator[tuple[ast.AST, Place]]:
        for value in self.values(node, place, depth):
            if isinstance(value, Items):
                nodes = value.nodes
                yield from nodes[number : number + 1] if number < len(nodes) else nodes

    def imported(self, name: str, module: Module, depth: int) -> Iterator[Value]:
        """What the import of this dotted name gives, relative ones seen from the module."""
        root, last = name.partition(".")[0], name.rpartition(".")[2]
        if root == "agent_persistence" and last in KNOWN_CONSTANTS:
            place = Place(module.scope, Block(), 0)
            yield Items(tuple((ast.Constant(table), place) for table in KNOWN_CONSTANTS[last]))
        elif last not in ADAPTERS and root not in NOT_READ and depth < MAX_DEPTH:
            yield from self._read_import(name, module, depth + 1)
        else:
            yield Foreign(name)

    def _read_import(self, name: str, module: Module, depth: int) -> Iterator[Value]:
        if whole := self._file(name, module):
            yield whole
            return
        origin, last = split(name)
        found = self._file(origin, module)
        values = list(self._member(found, last, depth)) if found and found is not module else []
        yield from values or [Foreign(name)]

    def _member(self, module: Module, name: str, depth: int) -> Iterator[Value]:
        if name in module.scope.names:
            yield from self.bound(module.scope, name, None, depth)
        elif module.path.name == "__init__.py" and (below := self._file(f".{name}", module)):
            yield below
        else:
            for star in module.scope.stars:
                yield from self.imported(join(star, name), module, depth)

    def _file(self, name: str, module: Module) -> Module | None:
        """The module that this dotted name is imported from, if it is one of the project's."""
        path = self._files.find(module.path.parent, name)
        if path is not None:
            with suppress(UncheckableError, RecursionError):
                return self.load(path)
        return None

    def load(self, path: Path) -> Module:
        """The module of this file, or UncheckableError."""
        found = self._modules.get(path)
        if found is None:
            if len(self._modules) >= MAX_MODULES:
                self._modules.clear()
                self._memo.clear()
                gc.collect()
            found = self._modules[path] = parse(path)
        return found

    def attributes(self, owners: Iterable[Value], name: str, depth: int) -> Iterator[Value]:
        """What the attribute of this name may be, whichever of the values owns it."""
        known = False
        for owner in owners:
            match owner:
                case Foreign():
                    yield Foreign(f"{owner.name}.{name}")
                    known = known or owner.last in RAW_NAMES
                case Module():
                    yield from self._member(owner, name, depth)
                case ClassHere():
                    yield from self.bound(owner.place.scope.module.classes[owner.node], name, None, depth)
                case str() if name in ("value", "name"):
                    yield owner
                case TableHandle(table) if name in TABLE_VERBS:
                    yield Verb(name, table)
                    known = True
        if name in ADAPTERS:
            yield Foreign(f"?.{name}")
        if name in VERBS and not known:
            yield Verb(name)

    def table_names(self, node: ast.AST | None, place: Place, depth: int = 0) -> Iterator[str]:
        """The governance tables that an argument names: as a text, or as a model with a __tablename__."""
        for value in self.values(node, place, depth):
            names: Iterable[Value] = (value,)
            if isinstance(value, ClassHere):
                names = self.bound(value.place.scope.module.classes[value.node], "__tablename__", None, depth)
            yield from (name for name in names if isinstance(name, str) and name in GOVERNANCE_TABLES)

    def origins(self, value: Value, depth: int = 0) -> Iterator[Foreign]:
        """What is meant in other modules: the thing itself, or what a class is derived from."""
        if isinstance(value, Foreign):
            yield value
        elif isinstance(value, ClassHere) and depth < MAX_DEPTH:
            for node in value.node.bases:
                for base in self.values(node, value.place):
                    yield from self.origins(base, depth + 1)

"""Fail the build where code goes around the persistence layer.

    python scripts/ci_guard_persistence.py [paths…] [--format text|github] [--factory GLOB]

| rule | what is found | where it is allowed |
|---|---|---|
| AP001 | SupabaseAdapter is constructed | factory.py, factories/, --factory |
| AP002 | clients or campaigns is written to | tests/, test_*.py, *_test.py, conftest.py |
| AP003 | a raw Supabase or PostgREST client is created | factory.py, factories/, --factory |
| AP000 | a file cannot be checked, or a pragma is wrong or allows nothing | nowhere |

`# persistence-guard: allow AP002 reason` allows what is found at its line or, alone on a line, at the next one;
`# persistence-guard: allow-file AP001 reason` what is found in its file.
Exit status: 0 clean, 1 findings, 2 usage. One file and the standard library only: copy it, or run it from here.

It reads the syntax tree, never runs the code, and follows names as far as a file and the files it imports show them:
aliases, attributes, partials, subclasses, constants, loops. What is put together at run time it cannot see; the
policy of the service refuses that.
"""

from __future__ import annotations

import argparse
import ast
import gc
import io
import os
import re
import stat
import sys
import tokenize
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice, product, zip_longest
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

GOVERNANCE_TABLES: Final = frozenset({"clients", "campaigns"})
KNOWN_CONSTANTS: Final = {
    "GOVERNANCE_TABLES": tuple(sorted(GOVERNANCE_TABLES)),
    "BUSINESS_TABLES": (*sorted(GOVERNANCE_TABLES), "leads", "conversations", "messages", "sequences"),
}
"""Collections that `agent_persistence` itself offers."""
VERBS: Final = frozenset({"write", "batch_write", "upsert", "update", "delete"})
TABLE_VERBS: Final = VERBS | {"insert"}
"""Of something that stands for one table: `agent.table(Client)`, `client.table("clients")`."""
RAW_ROOTS: Final = frozenset({"supabase", "supabase_py", "postgrest"})
RAW_NAMES: Final = frozenset(
    {"create_client", "acreate_client", "create_async_client", "Client", "AsyncClient", "SyncClient"}
    | {"PostgrestClient", "AsyncPostgrestClient", "SyncPostgrestClient", "create"}
)
CALLERS: Final = frozenset(
    {"partial", "partialmethod", "map", "starmap", "submit", "run", "run_sync", "run_in_executor", "to_thread"}
    | {"start_soon", "start", "call_soon", "call_later", "apply", "apply_async"}
)
"""Functions that call, or bind, the function that they are given."""
MESSAGES: Final = {
    "AP001": "SupabaseAdapter is constructed outside a factory; use create_persistence_agent()",
    "AP002": "{table} is a governance table: written to outside tests; let its owner's tool do that",
    "AP003": "{name} creates a raw Supabase client outside a factory; use create_persistence_agent()",
}

MAX_FILE_BYTES: Final = 5_000_000
MAX_VALUES: Final = 64
MAX_DEPTH: Final = 40
MAX_MODULES: Final = 500
MAX_RECURSION: Final = 10_000
"""Of Python functions, which need no stack of the machine; the parser keeps the default."""
SKIPPED: Final = frozenset({"__pycache__", "node_modules"})


# ---- what is reported ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Finding:
    """One place where a rule is broken; line and column count from 1."""

    path: str
    line: int
    column: int
    rule: str
    message: str

    def text(self) -> str:
        return _printable(f"{self.path}:{self.line}:{self.column}: {self.rule} {self.message}")

    def github(self) -> str:
        """A workflow command; see GitHub's "Workflow commands", whose toolkit escapes in this way."""
        place = f"file={_property(self.path)},line={self.line},col={self.column},title={self.rule}"
        return f"::error {place}::{_data(self.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _printable(text: str) -> str:
    """One line, whatever a file's name holds."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# ---- names: where they are bound, and which bindings reach a place ---------------------------------------------------


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
class Scope:
    """A module, class or function, and what its names are bound to, in order."""

    module: Module
    parent: Scope | None = None
    is_class: bool = False
    names: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    """Modules of which everything was imported."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where an expression stands: only what is bound before it, or in the same loop, can reach it."""

    scope: Scope
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
    scope: Scope = field(init=False)
    calls: list[tuple[ast.Call, Place, int]] = field(default_factory=list)
    classes: dict[ast.ClassDef, Scope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scope = Scope(self)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(MAX_RECURSION)
        try:
            _Collector(self).block(self.tree.body, self.scope, Block())
        finally:
            sys.setrecursionlimit(limit)


class _Collector:
    """Walks a tree once and notes every binding and every call."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.order = 0
        self.line = 0

    def block(self, body: Iterable[ast.stmt], scope: Scope, block: Block) -> None:
        for statement in body:
            self.line = statement.lineno
            self.order += 1
            handler = _STATEMENTS.get(type(statement))
            if handler:
                handler(self, statement, scope, block)
            else:
                self.parts(statement, scope, block)

    def place(self, scope: Scope, block: Block) -> Place:
        self.order += 1
        return Place(scope, block, self.order)

    def parts(self, node: ast.AST, scope: Scope, block: Block) -> None:
        """Everything in the node: statements as a branch of their own, expressions as they come."""
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                if value and isinstance(value[0], ast.stmt):
                    self.block(value, scope, Block(block))
                else:
                    for item in value:
                        if isinstance(item, ast.AST):
                            self.expression(item, scope, block)
            elif isinstance(value, ast.AST):
                self.expression(value, scope, block)

    def expression(self, node: ast.AST, scope: Scope, block: Block) -> None:
        kind = type(node)
        if kind in _LEAVES:
            return
        if kind is ast.Call:
            self.module.calls.append((node, self.place(scope, block), self.line))  # type: ignore[arg-type]
        handler = _EXPRESSIONS.get(kind)
        if handler:
            handler(self, node, scope, block)
        else:
            self.parts(node, scope, block)

    def bind(self, target: ast.AST, node: ast.AST | None, place: Place, how: str = "value", *index: int) -> None:
        """Bind what the target names to the node, part by part where the target is a tuple."""
        match target:
            case ast.Name(id=name):
                self.name(name, Binding(place, node, how, index))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for number, part in enumerate(parts):
                    self.bind(part, node, place, how, *index, number)
            case ast.Starred(value=inner):
                self.bind(inner, None, place, "unknown")

    def name(self, name: str, binding: Binding) -> None:
        binding.place.scope.names.setdefault(name, []).append(binding)

    # statements

    def assign(self, node: ast.Assign, scope: Scope, block: Block) -> None:
        self.parts(node, scope, block)
        place = self.place(scope, block)
        for target in node.targets:
            self.bind(target, node.value, place)

    def annotated(self, node: ast.AnnAssign, scope: Scope, block: Block) -> None:
        self.parts(node, scope, block)
        if node.value is not None:
            self.bind(node.target, node.value, self.place(scope, block))

    def augmented(self, node: ast.AugAssign, scope: Scope, block: Block) -> None:
        self.parts(node, scope, block)
        if isinstance(node.target, ast.Name):
            before = ast.Name(node.target.id, ast.Load())
            self.bind(node.target, ast.BinOp(before, node.op, node.value), self.place(scope, block))

    def loop(self, node: ast.For | ast.AsyncFor, scope: Scope, block: Block) -> None:
        self.expression(node.iter, scope, block)
        body = Block(block, loop=True)
        self.bind(node.target, node.iter, self.place(scope, body), "element")
        self.block(node.body, scope, body)
        self.block(node.orelse, scope, Block(block))

    def repeat(self, node: ast.While, scope: Scope, block: Block) -> None:
        body = Block(block, loop=True)
        self.expression(node.test, scope, body)
        self.block(node.body, scope, body)
        self.block(node.orelse, scope, Block(block))

    def with_(self, node: ast.With | ast.AsyncWith, scope: Scope, block: Block) -> None:
        for item in node.items:
            self.expression(item.context_expr, scope, block)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, item.context_expr, self.place(scope, block))
        self.block(node.body, scope, block)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope, block: Block) -> None:
        for decorator in node.decorator_list:
            self.expression(decorator, scope, block)
        self.name(node.name, Binding(self.place(scope, block), None, "unknown"))
        inner = self.parameters(node.args, scope, block)
        self.block(node.body, inner, Block())

    def lambda_(self, node: ast.Lambda, scope: Scope, block: Block) -> None:
        self.expression(node.body, self.parameters(node.args, scope, block), Block())

    def parameters(self, args: ast.arguments, scope: Scope, block: Block) -> Scope:
        inner = Scope(self.module, scope)
        outer = self.place(scope, block)
        positional = [*args.posonlyargs, *args.args]
        defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults]
        extra = [(each, None) for each in (args.vararg, args.kwarg) if each]
        pairs = [*zip(positional, defaults), *zip(args.kwonlyargs, args.kw_defaults), *extra]  # noqa: B905
        for parameter, default in pairs:
            if default is not None:
                self.expression(default, scope, block)
            how = "value" if default is not None else "unknown"
            inner.names.setdefault(parameter.arg, []).append(Binding(outer, default, how))
        return inner

    def class_(self, node: ast.ClassDef, scope: Scope, block: Block) -> None:
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.expression(part, scope, block)
        inner = Scope(self.module, scope, is_class=True)
        self.module.classes[node] = inner
        self.name(node.name, Binding(self.place(scope, block), node, "class"))
        self.block(node.body, inner, Block())

    def import_(self, node: ast.Import, scope: Scope, block: Block) -> None:
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            self.name(alias.asname or whole, Binding(self.place(scope, block), ast.Name(whole, ast.Load()), "import"))

    def import_from(self, node: ast.ImportFrom, scope: Scope, block: Block) -> None:
        origin = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                scope.stars.append(origin)
            else:
                whole = ast.Name(_join(origin, alias.name), ast.Load())
                binding = Binding(self.place(scope, block), whole, "import")
                self.name(alias.asname or alias.name, binding)

    def global_(self, node: ast.Global | ast.Nonlocal, scope: Scope, block: Block) -> None:
        """What is bound here is bound there: the two share one list."""
        outer = self.module.scope if isinstance(node, ast.Global) else scope.parent or scope
        for name in node.names:
            scope.names[name] = outer.names.setdefault(name, [])

    # expressions

    def walrus(self, node: ast.NamedExpr, scope: Scope, block: Block) -> None:
        self.expression(node.value, scope, block)
        self.bind(node.target, node.value, self.place(scope, block))

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope, block: Block
    ) -> None:
        inner, body = Scope(self.module, scope), Block()
        for number, generator in enumerate(node.generators):
            self.expression(generator.iter, inner if number else scope, body if number else block)
            place = self.place(inner if number else scope, body if number else block)
            target = Binding(place, generator.iter, "element")
            self.bind_in(inner, generator.target, target)
            for condition in generator.ifs:
                self.expression(condition, inner, body)
        results = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        for result in results:
            self.expression(result, inner, body)

    def bind_in(self, scope: Scope, target: ast.AST, binding: Binding, *index: int) -> None:
        """Bind in one scope what is evaluated in another."""
        match target:
            case ast.Name(id=name):
                bound = Binding(binding.place, binding.node, binding.how, index)
                scope.names.setdefault(name, []).append(bound)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for number, part in enumerate(parts):
                    self.bind_in(scope, part, binding, *index, number)


_LEAVES: Final = frozenset({ast.Name, ast.Constant, ast.Load, ast.Store, ast.Del})
_Handler: TypeAlias = Callable[..., None]
_STATEMENTS: Final[dict[type, _Handler]] = {
    ast.Assign: _Collector.assign,
    ast.AnnAssign: _Collector.annotated,
    ast.AugAssign: _Collector.augmented,
    ast.For: _Collector.loop,
    ast.AsyncFor: _Collector.loop,
    ast.While: _Collector.repeat,
    ast.With: _Collector.with_,
    ast.AsyncWith: _Collector.with_,
    ast.FunctionDef: _Collector.function,
    ast.AsyncFunctionDef: _Collector.function,
    ast.ClassDef: _Collector.class_,
    ast.Import: _Collector.import_,
    ast.ImportFrom: _Collector.import_from,
    ast.Global: _Collector.global_,
    ast.Nonlocal: _Collector.global_,
}
_EXPRESSIONS: Final[dict[type, _Handler]] = {
    ast.NamedExpr: _Collector.walrus,
    ast.Lambda: _Collector.lambda_,
    ast.ListComp: _Collector.comprehension,
    ast.SetComp: _Collector.comprehension,
    ast.GeneratorExp: _Collector.comprehension,
    ast.DictComp: _Collector.comprehension,
}


# ---- values: what an expression may stand for ------------------------------------------------------------------------


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
class Table:
    """What `agent.table(…)` or `client.table(…)` returns for a governance table."""

    name: str


Value: TypeAlias = str | Foreign | Items | ClassHere | Module | Verb | Table


class Resolver:
    """Tells what expressions may stand for, following names through the files that import each other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[Path, Module] = {}
        self._paths: dict[tuple[Path, str], Path | None] = {}
        self._memo: dict[Module, dict[int, tuple[Value, ...]]] = {}

    def values(self, node: ast.AST | None, place: Place, depth: int = 0) -> tuple[Value, ...]:
        """Every value the expression may have at this place, as far as the source shows them."""
        kind = type(node)
        if kind is ast.Constant:
            value = node.value  # type: ignore[union-attr]
            return (value,) if type(value) is str else ()
        reader = _READERS.get(kind)
        if node is None or reader is None or depth > MAX_DEPTH:
            return ()
        memo = self._memo.setdefault(place.scope.module, {})
        found = memo.get(id(node))
        if found is None:
            memo[id(node)] = ()  # a name that is bound to itself adds nothing
            found = memo[id(node)] = tuple(islice(reader(self, node, place, depth + 1), MAX_VALUES))
        return found

    def texts(self, node: ast.AST | None, place: Place, depth: int = 0) -> tuple[str, ...]:
        return tuple(value for value in self.values(node, place, depth) if isinstance(value, str))

    def elements(self, node: ast.AST | None, place: Place, depth: int) -> Iterator[tuple[ast.AST, Place]]:
        for value in self.values(node, place, depth):
            if isinstance(value, Items):
                yield from value.nodes

    # names

    def _name(self, node: ast.Name, place: Place, depth: int) -> Iterator[Value]:
        scope: Scope | None = place.scope
        while scope is not None:
            if node.id in scope.names and (not scope.is_class or scope is place.scope):
                yield from self._bound(scope, node.id, place, depth)
                return
            scope = scope.parent
        module = place.scope.module
        for origin in module.scope.stars:
            yield from self.imported(_join(origin, node.id), module, depth)
        yield Foreign(node.id)

    def _bound(self, scope: Scope, name: str, place: Place | None, depth: int) -> Iterator[Value]:
        bindings: Iterable[Binding] = scope.names.get(name, ())
        if place is not None and place.scope is scope:
            bindings = _reaching(scope, scope.names[name], place)
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
        elif last != "SupabaseAdapter" and root not in _NOT_READ and depth < MAX_DEPTH:
            yield from self._read_import(name, module, depth + 1)
        else:
            yield Foreign(name)

    def _read_import(self, name: str, module: Module, depth: int) -> Iterator[Value]:
        if whole := self._file(name, module):
            yield whole
            return
        origin, last = _split(name)
        found = self._file(origin, module)
        values = list(self._member(found, last, depth)) if found and found is not module else []
        yield from values or [Foreign(name)]

    def _member(self, module: Module, name: str, depth: int) -> Iterator[Value]:
        if name in module.scope.names:
            yield from self._bound(module.scope, name, None, depth)
        elif module.path.name == "__init__.py" and (below := self._file(f".{name}", module)):
            yield below
        else:
            for star in module.scope.stars:
                yield from self.imported(_join(star, name), module, depth)

    def _file(self, name: str, module: Module) -> Module | None:
        """The file that this dotted name is imported from, if it is one of the project's."""
        asked = (module.path.parent, name)
        if asked not in self._paths:
            self._paths[asked] = next((path for path in self._candidates(*asked) if path.is_file()), None)
        path = self._paths[asked]
        if path is not None:
            with suppress(UncheckableError, RecursionError):
                return self.load(path)
        return None

    def _candidates(self, folder: Path, name: str) -> Iterator[Path]:
        parts = [part for part in name.split(".") if part]
        level = len(name) - len(name.lstrip("."))
        above = [folder, *folder.parents]
        if level:
            starts = above[level - 1 : level]
        else:
            starts = [each for each in above if each.is_relative_to(self.root)]
            starts += [each / "src" for each in starts]
        for start in starts:
            whole = start.joinpath(*parts)
            yield from ([whole.with_suffix(".py")] if parts else [])
            yield whole / "__init__.py"

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

    # attributes

    def _attribute(self, node: ast.Attribute, place: Place, depth: int) -> Iterator[Value]:
        owners = self.values(node.value, place, depth)
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            owners = (*owners, *self._own_class(place))
        yield from self._attributes(owners, node.attr, depth)

    def _attributes(self, owners: Iterable[Value], name: str, depth: int) -> Iterator[Value]:
        known = False
        for owner in owners:
            match owner:
                case Foreign():
                    yield Foreign(f"{owner.name}.{name}")
                    known = known or owner.last in RAW_NAMES
                case Module():
                    yield from self._member(owner, name, depth)
                case ClassHere():
                    yield from self._bound(owner.place.scope.module.classes[owner.node], name, None, depth)
                case str() if name in ("value", "name"):
                    yield owner
                case Table(table) if name in TABLE_VERBS:
                    yield Verb(name, table)
                    known = True
        if name == "SupabaseAdapter":
            yield Foreign(f"?.{name}")
        if name in VERBS and not known:
            yield Verb(name)

    def _own_class(self, place: Place) -> Iterator[ClassHere]:
        scope: Scope | None = place.scope
        while scope is not None:
            for node, inner in place.scope.module.classes.items() if scope.is_class else ():
                if inner is scope:
                    yield ClassHere(node, Place(scope.parent or scope, Block(), 0))
            scope = scope.parent

    # texts and collections

    def _joined(self, node: ast.JoinedStr, place: Place, depth: int) -> Iterator[Value]:
        parts = [self.texts(part, place, depth) for part in node.values]
        yield from _short("".join(chosen) for chosen in islice(product(*parts), MAX_VALUES))

    def _formatted(self, node: ast.FormattedValue, place: Place, depth: int) -> Iterator[Value]:
        if node.conversion in (-1, ord("s")) and node.format_spec is None:
            yield from self.texts(node.value, place, depth)

    def _binary(self, node: ast.BinOp, place: Place, depth: int) -> Iterator[Value]:
        left, right = self.values(node.left, place, depth), self.values(node.right, place, depth)
        if isinstance(node.op, ast.Add):
            pairs = product((v for v in left if isinstance(v, str)), (v for v in right if isinstance(v, str)))
            yield from _short(first + second for first, second in islice(pairs, MAX_VALUES))
        yield from (value for value in (*left, *right) if isinstance(value, Items))

    def _collection(self, node: ast.Tuple | ast.List | ast.Set, place: Place, depth: int) -> Iterator[Value]:
        nodes: list[tuple[ast.AST, Place]] = []
        for item in node.elts:
            nodes += self.elements(item.value, place, depth) if isinstance(item, ast.Starred) else [(item, place)]
        yield Items(tuple(nodes))

    def _dict(self, node: ast.Dict, place: Place, depth: int) -> Iterator[Value]:
        pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None]
        yield Items(tuple((key, place) for key, _ in pairs), tuple((value, place) for _, value in pairs))

    def _either(self, node: ast.IfExp | ast.BoolOp, place: Place, depth: int) -> Iterator[Value]:
        for part in (node.body, node.orelse) if isinstance(node, ast.IfExp) else node.values:
            yield from self.values(part, place, depth)

    def _inner(self, node: ast.NamedExpr | ast.Await | ast.Starred, place: Place, depth: int) -> Iterator[Value]:
        yield from self.values(node.value, place, depth)

    def _subscript(self, node: ast.Subscript, place: Place, depth: int) -> Iterator[Value]:
        for value in self.values(node.value, place, depth):
            if isinstance(value, Items):
                for part in value.mapped or value.nodes:
                    yield from self.values(*part, depth)
            elif isinstance(value, ClassHere):  # an Enum by name
                yield from self._attributes([value], "".join(self.texts(node.slice, place, depth)[:1]), depth)

    # calls

    def _call(self, node: ast.Call, place: Place, depth: int) -> Iterator[Value]:
        if isinstance(node.func, ast.Attribute):
            yield from self._method(node, node.func, place, depth)
        for callee in self.values(node.func, place, depth):
            if isinstance(callee, ClassHere):
                yield from (text for text in self.texts(_argument(node, 0), place, depth))  # an Enum by value
            elif isinstance(callee, Foreign):
                yield from self._function(node, callee.last, place, depth)

    def _method(self, node: ast.Call, func: ast.Attribute, place: Place, depth: int) -> Iterator[Value]:
        if func.attr in ("table", "from_"):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                yield from (Table(name) for name in self.table_names(argument, place, depth))
        elif func.attr in ("lower", "casefold", "strip") and not node.args:
            yield from (getattr(text, func.attr)() for text in self.texts(func.value, place, depth))
        elif func.attr in ("keys", "values", "items", "copy"):
            for value in self.values(func.value, place, depth):
                if isinstance(value, Items):
                    yield _view(value, func.attr)

    def _function(self, node: ast.Call, name: str, place: Place, depth: int) -> Iterator[Value]:
        first, second = _argument(node, 0), _argument(node, 1)
        match name:
            case "str" | "cast" | "list" | "tuple" | "set" | "frozenset" | "sorted" | "reversed" | "iter" | "partial":
                yield from self.values(second if name == "cast" else first, place, depth)
            case "enumerate" if first is not None:
                nodes = self.elements(first, place, depth)
                yield Items(tuple((_pair(ast.Constant(0), each), where) for each, where in nodes))
            case "zip":
                columns = [[each for each, _ in self.elements(column, place, depth)] for column in node.args]
                rows = islice(zip_longest(*columns, fillvalue=ast.Constant(None)), MAX_VALUES)
                yield Items(tuple((_pair(*row), place) for row in rows))
            case "chain" | "union":
                yield Items(tuple(each for part in node.args for each in self.elements(part, place, depth)))
            case "getattr":
                for attribute in self.texts(second, place, depth):
                    yield from self._attributes(self.values(first, place, depth), attribute, depth)
            case "import_module" | "__import__":
                for text in self.texts(first, place, depth):
                    yield from self.imported(text, place.scope.module, depth)

    def table_names(self, node: ast.AST | None, place: Place, depth: int = 0) -> Iterator[str]:
        """The governance tables that an argument names: as a text, or as a model with a __tablename__."""
        for value in self.values(node, place, depth):
            names: Iterable[Value] = (value,)
            if isinstance(value, ClassHere):
                names = self._bound(value.place.scope.module.classes[value.node], "__tablename__", None, depth)
            yield from (name for name in names if isinstance(name, str) and name in GOVERNANCE_TABLES)

    def origins(self, value: Value, depth: int = 0) -> Iterator[Foreign]:
        """What is meant in other modules: the thing itself, or what a class is derived from."""
        if isinstance(value, Foreign):
            yield value
        elif isinstance(value, ClassHere) and depth < MAX_DEPTH:
            for node in value.node.bases:
                for base in self.values(node, value.place):
                    yield from self.origins(base, depth + 1)


_READERS: Final[dict[type, Callable[..., Iterator[Value]]]] = {
    ast.Name: Resolver._name,
    ast.Attribute: Resolver._attribute,
    ast.JoinedStr: Resolver._joined,
    ast.FormattedValue: Resolver._formatted,
    ast.BinOp: Resolver._binary,
    ast.Tuple: Resolver._collection,
    ast.List: Resolver._collection,
    ast.Set: Resolver._collection,
    ast.Dict: Resolver._dict,
    ast.IfExp: Resolver._either,
    ast.BoolOp: Resolver._either,
    ast.NamedExpr: Resolver._inner,
    ast.Await: Resolver._inner,
    ast.Subscript: Resolver._subscript,
    ast.Call: Resolver._call,
}
_NOT_READ: Final = RAW_ROOTS | {"agent_persistence"} | sys.stdlib_module_names


def _join(origin: str, name: str) -> str:
    return f"{origin}{name}" if origin.endswith(".") else f"{origin}.{name}"


def _split(name: str) -> tuple[str, str]:
    """The inverse of `_join`: `..a` is a of the package `..`."""
    last = name.rpartition(".")[2]
    origin = name[: -len(last)]
    return (origin if set(origin) == {"."} else origin.rstrip(".")), last


def _reaching(scope: Scope, bindings: Sequence[Binding], place: Place) -> Iterator[Binding]:
    """The bindings that may hold at the place: backwards to the first that surely replaced those before it."""
    before = bisect_left(bindings, place.order, key=lambda binding: binding.place.order)
    loop = next(iter([*place.block.loops()][-1:]), None)
    if loop is not None:
        yield from (binding for binding in bindings[before:] if binding.place.block.within(loop))
    for number in range(before - 1, -1, -1):
        yield bindings[number]
        if bindings[number].place.scope is scope and place.block.within(bindings[number].place.block):
            return


def _argument(call: ast.Call, number: int, name: str | None = None) -> ast.AST | None:
    """The argument by position or keyword, literal * and ** included."""
    positional: list[ast.AST] = []
    for argument in call.args:
        inner = argument.value if isinstance(argument, ast.Starred) else None
        positional += inner.elts if isinstance(inner, (ast.Tuple, ast.List)) else [argument]
    if number < len(positional):
        return positional[number]
    for keyword in call.keywords:
        if keyword.arg == name and name is not None:
            return keyword.value
        if keyword.arg is None and isinstance(keyword.value, ast.Dict):
            for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == name:
                    return value
    return None


def _pair(*nodes: ast.AST) -> ast.Tuple:
    return ast.Tuple(list(nodes), ast.Load())  # type: ignore[arg-type]


def _view(value: Items, name: str) -> Items:
    if name == "values":
        return Items(value.mapped)
    if name == "items":
        pairs = zip(value.nodes, value.mapped, strict=False)
        return Items(tuple((_pair(key, mapped), place) for (key, place), (mapped, _) in pairs))
    return value


def _short(texts: Iterable[str]) -> Iterator[str]:
    """Names of tables have at most 63 characters; longer texts can be parts of none."""
    return (text for text in texts if len(text) <= 63)


# ---- rules -----------------------------------------------------------------------------------------------------------


def broken_rules(call: ast.Call, place: Place, resolver: Resolver) -> Iterator[tuple[str, str]]:
    """The rules that the call breaks wherever it stands, with the message for each."""
    callees = resolver.values(call.func, place)
    passes = _called_by_another(call, callees)
    constructed = [*callees, *(value for each in passes for value in resolver.values(each, place))]
    origins = [origin for value in constructed for origin in resolver.origins(value)]
    if any(origin.last == "SupabaseAdapter" for origin in origins):
        yield "AP001", MESSAGES["AP001"]
    raw = next((origin.name for origin in origins if _is_raw(origin)), None)
    if raw:
        yield "AP003", MESSAGES["AP003"].format(name=raw)
    tables = sorted({*_written(call, callees, place, resolver), *_written_later(call, passes, place, resolver)})
    if tables:
        yield "AP002", MESSAGES["AP002"].format(table=" or ".join(tables))


def _called_by_another(call: ast.Call, callees: Iterable[Value]) -> list[ast.expr]:
    """The arguments, where the callee is one that calls what it is given."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else None
    calls = name in CALLERS or any(isinstance(callee, Foreign) and callee.last in CALLERS for callee in callees)
    return call.args if calls else []


def _is_raw(value: Foreign) -> bool:
    return value.name.partition(".")[0] in RAW_ROOTS and value.last in RAW_NAMES


def _written(call: ast.Call, callees: Iterable[Value], place: Place, resolver: Resolver) -> Iterator[str]:
    for callee in callees:
        match callee:
            case Verb(table=str(table)):
                yield table
            case Verb() if _has_rows(call):
                yield from resolver.table_names(_argument(call, 0, "table"), place)
            case Foreign(name=name) if name.endswith("bulk_import"):
                yield from resolver.table_names(_argument(call, 1, "table"), place)


def _has_rows(call: ast.Call) -> bool:
    """Whether a second argument may be rows: in file.write("clients") and redis.delete("a", "b") there is none."""
    unpacked = any(isinstance(each, ast.Starred) for each in call.args) or any(k.arg is None for k in call.keywords)
    several = unpacked or len(call.args) + len(call.keywords) > 1
    return several and not isinstance(_argument(call, 1, "record"), ast.Constant)


def _written_later(call: ast.Call, passes: Sequence[ast.expr], place: Place, resolver: Resolver) -> Iterator[str]:
    """partial(agent.write, "clients"), group.start_soon(agent.write, "clients", record) and the like."""
    for number, argument in enumerate(passes):
        for value in resolver.values(argument, place):
            if isinstance(value, Verb) and value.table is None:
                yield from resolver.table_names(_argument(call, number + 1, "table"), place)
            elif isinstance(value, Verb) and value.table:
                yield value.table


@dataclass(frozen=True)
class Places:
    """What a file's path allows: judged below the directory the guard runs in, so that nobody's home is a test."""

    factories: tuple[str, ...] = ()

    def allow(self, path: PurePosixPath) -> frozenset[str]:
        name, folders = path.name, path.parts[:-1]
        allowed: set[str] = set()
        if name == "factory.py" or "factories" in folders or any(_matches(path, glob) for glob in self.factories):
            allowed |= {"AP001", "AP003"}
        if "tests" in folders or name == "conftest.py" or re.fullmatch(r"test_.*\.py|.*_test\.py", name):
            allowed.add("AP002")
        return frozenset(allowed)


def _matches(path: PurePosixPath, glob: str) -> bool:
    return fnmatchcase(str(path), glob) or fnmatchcase(str(path), f"*/{glob}")


# ---- pragmas ---------------------------------------------------------------------------------------------------------

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


# ---- files -----------------------------------------------------------------------------------------------------------


class UncheckableError(Exception):
    """The file cannot be checked; the message says why."""

    def __init__(self, reason: str, line: int = 1) -> None:
        super().__init__(reason)
        self.line = line


def parse(path: Path) -> Module:
    """The file's module, or UncheckableError."""
    source, text = _read(path)
    try:
        return Module(path, text.replace("\r\n", "\n").replace("\r", "\n"), ast.parse(source))
    except SyntaxError as error:
        version = ".".join(map(str, sys.version_info[:2]))
        raise UncheckableError(f"no syntax of Python {version}: {error.msg}", error.lineno or 1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UncheckableError(f"{type(error).__name__}: {error}") from None


def _read(path: Path) -> tuple[bytes, str]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UncheckableError("no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UncheckableError(f"larger than {MAX_FILE_BYTES:,} bytes")
        source = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return source, source.decode(encoding)
    except OSError as error:
        raise UncheckableError(error.strerror or type(error).__name__) from None
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UncheckableError(f"its encoding: {error}") from None


def check(path: Path, shown: PurePosixPath, places: Places, resolver: Resolver) -> list[Finding]:
    """What is wrong in one file; that it cannot be checked is a finding as well."""
    name = str(shown)
    try:
        module = resolver.load(path)
        return list(_findings(module, name, places.allow(shown), resolver))
    except UncheckableError as problem:
        return [Finding(name, problem.line, 1, "AP000", f"cannot be checked: {problem}")]
    except (RecursionError, tokenize.TokenError, SyntaxError) as error:
        return [Finding(name, 1, 1, "AP000", f"cannot be checked: {type(error).__name__}: {error}")]


def _findings(module: Module, name: str, allowed: frozenset[str], resolver: Resolver) -> Iterator[Finding]:
    notes = pragmas(module.text) if "persistence-guard" in module.text else []
    for call, place, statement in module.calls:
        for rule, message in broken_rules(call, place, resolver):
            if rule not in allowed and not _is_allowed(rule, call, statement, notes):
                yield Finding(name, call.lineno, _column(call, module), rule, message)
    for note in notes:
        unused = sorted(note.rules - note.used)
        problem = note.problem or (f"this pragma allows {', '.join(unused)}, which is not found here" if unused else "")
        if problem:
            yield Finding(name, note.line, note.column, "AP000", problem)


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


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every Python file at or below the paths, each once; hidden folders and virtual environments are left out."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        for file in [path] if not path.is_dir() else _below(path):
            status = file.stat() if file.exists() else file.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(
            each
            for each in folders
            if each not in SKIPPED and not each.startswith(".") and not Path(here, each, "pyvenv.cfg").exists()
        )
        yield from (Path(here, file) for file in sorted(files) if file.endswith((".py", ".pyw")))


def shown_as(path: Path, root: Path, given: Sequence[Path]) -> PurePosixPath:
    """The path below the directory the guard runs in; else below the folder that was given."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay
    for base in (root, *(Path(os.path.abspath(each)).parent for each in given)):  # noqa: PTH100
        if whole.is_relative_to(base):
            return PurePosixPath(whole.relative_to(base).as_posix())
    return PurePosixPath(whole.as_posix())


# ---- command ---------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    root = Path.cwd()
    resolver, places = Resolver(root), Places(tuple(options.factory))
    findings: list[Finding] = []
    count = 0
    warnings.simplefilter("ignore")  # those of the code that is read
    gc.disable()  # trees are kept until there are too many of them: looking through them would be most of the work
    for path in python_files(options.paths):
        count += 1
        whole = Path(os.path.abspath(path))  # noqa: PTH100
        findings += check(whole, shown_as(path, root, options.paths), places, resolver)
    if not count:
        print("ci_guard_persistence: no Python files there", file=sys.stderr)
        return 2
    for finding in sorted(findings):
        print(finding.github() if options.format == "github" else finding.text())
    print(f"{len(findings)} findings in {count} files" if findings else f"{count} files are clean", file=sys.stderr)
    return 1 if findings else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("paths", nargs="*", type=Path, default=[Path()], help="files and folders (default: this one)")
    parser.add_argument("--format", choices=("text", "github"), default="text", help="github: annotations")
    parser.add_argument(
        "--factory", metavar="GLOB", action="append", default=[], help="where adapters may be made, too"
    )
    options = parser.parse_args(arguments)
    for path in options.paths:
        if not os.path.lexists(path):
            parser.error(f"there is no {_printable(str(path))}")
    return options


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())

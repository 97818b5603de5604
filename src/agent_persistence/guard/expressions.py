"""How each kind of expression is read: the values it may have, as a resolver finds those of its parts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from typing import TYPE_CHECKING, Final

from agent_persistence.guard.bindings import Block, LexicalScope, Place
from agent_persistence.guard.calls import call
from agent_persistence.guard.imports import join
from agent_persistence.guard.known import MAX_VALUES
from agent_persistence.guard.values import ClassHere, Foreign, Items, Value

if TYPE_CHECKING:
    from agent_persistence.guard.resolving import Resolver


def _name(resolver: Resolver, node: ast.Name, place: Place, depth: int) -> Iterator[Value]:
    scope: LexicalScope | None = place.scope
    while scope is not None:
        if node.id in scope.names and (not scope.is_class or scope is place.scope):
            yield from resolver.bound(scope, node.id, place, depth)
            return
        scope = scope.parent
    module = place.scope.module
    for origin in module.scope.stars:
        yield from resolver.imported(join(origin, node.id), module, depth)
    yield Foreign(node.id)


def _attribute(resolver: Resolver, node: ast.Attribute, place: Place, depth: int) -> Iterator[Value]:
    owners = resolver.values(node.value, place, depth)
    if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
        owners = (*owners, *_own_class(place))
    yield from resolver.attributes(owners, node.attr, depth)


def _own_class(place: Place) -> Iterator[ClassHere]:
    scope: LexicalScope | None = place.scope
    while scope is not None:
        for node, inner in place.scope.module.classes.items() if scope.is_class else ():
            if inner is scope:
                yield ClassHere(node, Place(scope.parent or scope, Block(), 0))
        scope = scope.parent


def _joined(resolver: Resolver, node: ast.JoinedStr, place: Place, depth: int) -> Iterator[Value]:
    parts = [resolver.texts(part, place, depth) for part in node.values]
    yield from _short("".join(chosen) for chosen in islice(product(*parts), MAX_VALUES))


def _formatted(resolver: Resolver, node: ast.FormattedValue, place: Place, depth: int) -> Iterator[Value]:
    if node.conversion in (-1, ord("s")) and node.format_spec is None:
        yield from resolver.texts(node.value, place, depth)


def _binary(resolver: Resolver, node: ast.BinOp, place: Place, depth: int) -> Iterator[Value]:
    left, right = resolver.values(node.left, place, depth), resolver.values(node.right, place, depth)
    if isinstance(node.op, ast.Add):
        pairs = product((v for v in left if isinstance(v, str)), (v for v in right if isinstance(v, str)))
        yield from _short(first + second for first, second in islice(pairs, MAX_VALUES))
    yield from (value for value in (*left, *right) if isinstance(value, Items))


def _collection(resolver: Resolver, node: ast.Tuple | ast.List | ast.Set, place: Place, depth: int) -> Iterator[Value]:
    nodes: list[tuple[ast.AST, Place]] = []
    for item in node.elts:
        nodes += resolver.elements(item.value, place, depth) if isinstance(item, ast.Starred) else [(item, place)]
    yield Items(tuple(nodes))


def _dict(resolver: Resolver, node: ast.Dict, place: Place, depth: int) -> Iterator[Value]:
    pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None]
    yield Items(tuple((key, place) for key, _ in pairs), tuple((value, place) for _, value in pairs))


def _either(resolver: Resolver, node: ast.IfExp | ast.BoolOp, place: Place, depth: int) -> Iterator[Value]:
    for part in (node.body, node.orelse) if isinstance(node, ast.IfExp) else node.values:
        yield from resolver.values(part, place, depth)


def _inner(
    resolver: Resolver, node: ast.NamedExpr | ast.Await | ast.Starred, place: Place, depth: int
) -> Iterator[Value]:
    yield from resolver.values(node.value, place, depth)


def _subscript(resolver: Resolver, node: ast.Subscript, place: Place, depth: int) -> Iterator[Value]:
    for value in resolver.values(node.value, place, depth):
        if isinstance(value, Items):
            for part in value.mapped or value.nodes:
                yield from resolver.values(*part, depth)
        elif isinstance(value, ClassHere):  # an Enum by name
            yield from resolver.attributes([value], "".join(resolver.texts(node.slice, place, depth)[:1]), depth)


READERS: Final[dict[type, Callable[..., Iterator[Value]]]] = {
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
    ast.BinOp: _binary,
    ast.Tuple: _collection,
    ast.List: _collection,
    ast.Set: _collection,
    ast.Dict: _dict,
    ast.IfExp: _either,
    ast.BoolOp: _either,
    ast.NamedExpr: _inner,
    ast.Await: _inner,
    ast.Subscript: _subscript,
    ast.Call: call,
}


def _short(texts: Iterable[str]) -> Iterator[str]:
    """Names of tables have at most 63 characters; longer texts can be parts of none."""
    return (text for text in texts if len(text) <= 63)

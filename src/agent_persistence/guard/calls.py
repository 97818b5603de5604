"""What a call may return, and its arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from agent_persistence.guard.bindings import Place
from agent_persistence.guard.known import MAX_VALUES
from agent_persistence.guard.values import ClassHere, Foreign, Items, TableHandle, Value

if TYPE_CHECKING:
    from agent_persistence.guard.resolving import Resolver


def call(resolver: Resolver, node: ast.Call, place: Place, depth: int) -> Iterator[Value]:
    """What the call may return."""
    if isinstance(node.func, ast.Attribute):
        yield from _method(resolver, node, node.func, place, depth)
    for callee in resolver.values(node.func, place, depth):
        if isinstance(callee, ClassHere):
            yield from (text for text in resolver.texts(argument(node, 0), place, depth))  # an Enum by value
        elif isinstance(callee, Foreign):
            yield from _function(resolver, node, callee.last, place, depth)


def _method(resolver: Resolver, node: ast.Call, func: ast.Attribute, place: Place, depth: int) -> Iterator[Value]:
    if func.attr in ("table", "from_"):
        for passed in (*node.args, *(keyword.value for keyword in node.keywords)):
            yield from (TableHandle(name) for name in resolver.table_names(passed, place, depth))
    elif func.attr in ("lower", "casefold", "strip") and not node.args:
        yield from (getattr(text, func.attr)() for text in resolver.texts(func.value, place, depth))
    elif func.attr in ("keys", "values", "items", "copy"):
        for value in resolver.values(func.value, place, depth):
            if isinstance(value, Items):
                yield _view(value, func.attr)


def _function(resolver: Resolver, node: ast.Call, name: str, place: Place, depth: int) -> Iterator[Value]:
    first, second = argument(node, 0), argument(node, 1)
    match name:
        case "str" | "cast" | "list" | "tuple" | "set" | "frozenset" | "sorted" | "reversed" | "iter" | "partial":
            yield from resolver.values(second if name == "cast" else first, place, depth)
        case "enumerate" if first is not None:
            nodes = resolver.elements(first, place, depth)
            yield Items(tuple((_pair(ast.Constant(0), each), where) for each, where in nodes))
        case "zip":
            columns = [[each for each, _ in resolver.elements(column, place, depth)] for column in node.args]
            rows = islice(zip_longest(*columns, fillvalue=ast.Constant(None)), MAX_VALUES)
            yield Items(tuple((_pair(*row), place) for row in rows))
        case "chain" | "union":
            yield Items(tuple(each for part in node.args for each in resolver.elements(part, place, depth)))
        case "getattr":
            for attribute in resolver.texts(second, place, depth):
                yield from resolver.attributes(resolver.values(first, place, depth), attribute, depth)
        case "import_module" | "__import__":
            for text in resolver.texts(first, place, depth):
                yield from resolver.imported(text, place.scope.module, depth)


def argument(call: ast.Call, number: int, name: str | None = None) -> ast.AST | None:
    """The argument by position or keyword, literal * and ** included."""
    positional: list[ast.AST] = []
    for given in call.args:
        inner = given.value if isinstance(given, ast.Starred) else None
        positional += inner.elts if isinstance(inner, (ast.Tuple, ast.List)) else [given]
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

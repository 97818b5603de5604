"""One walk over a syntax tree, which notes every binding and every call."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from agent_persistence.guard.bindings import Binding, Block, LexicalScope, Module, Place
from agent_persistence.guard.imports import join
from agent_persistence.guard.known import MAX_RECURSION


def collected(path: Path, text: str, tree: ast.Module) -> Module:
    """The file's module, with all its bindings and calls."""
    module = Module(path, text, tree)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(MAX_RECURSION)
    try:
        _Collector(module).block(tree.body, module.scope, Block())
    finally:
        sys.setrecursionlimit(limit)
    return module


class _Collector:
    """Walks a tree once and notes every binding and every call."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.order = 0
        self.line = 0

    def block(self, body: Iterable[ast.stmt], scope: LexicalScope, block: Block) -> None:
        for statement in body:
            self.line = statement.lineno
            self.order += 1
            handler = _STATEMENTS.get(type(statement))
            if handler:
                handler(self, statement, scope, block)
            else:
                self.parts(statement, scope, block)

    def place(self, scope: LexicalScope, block: Block) -> Place:
        self.order += 1
        return Place(scope, block, self.order)

    def parts(self, node: ast.AST, scope: LexicalScope, block: Block) -> None:
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

    def expression(self, node: ast.AST, scope: LexicalScope, block: Block) -> None:
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

    def assign(self, node: ast.Assign, scope: LexicalScope, block: Block) -> None:
        self.parts(node, scope, block)
        place = self.place(scope, block)
        for target in node.targets:
            self.bind(target, node.value, place)

    def annotated(self, node: ast.AnnAssign, scope: LexicalScope, block: Block) -> None:
        self.parts(node, scope, block)
        if node.value is not None:
            self.bind(node.target, node.value, self.place(scope, block))

    def augmented(self, node: ast.AugAssign, scope: LexicalScope, block: Block) -> None:
        self.parts(node, scope, block)
        if isinstance(node.target, ast.Name):
            before = ast.Name(node.target.id, ast.Load())
            self.bind(node.target, ast.BinOp(before, node.op, node.value), self.place(scope, block))

    def loop(self, node: ast.For | ast.AsyncFor, scope: LexicalScope, block: Block) -> None:
        self.expression(node.iter, scope, block)
        body = Block(block, loop=True)
        self.bind(node.target, node.iter, self.place(scope, body), "element")
        self.block(node.body, scope, body)
        self.block(node.orelse, scope, Block(block))

    def repeat(self, node: ast.While, scope: LexicalScope, block: Block) -> None:
        body = Block(block, loop=True)
        self.expression(node.test, scope, body)
        self.block(node.body, scope, body)
        self.block(node.orelse, scope, Block(block))

    def with_(self, node: ast.With | ast.AsyncWith, scope: LexicalScope, block: Block) -> None:
        for item in node.items:
            self.expression(item.context_expr, scope, block)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, item.context_expr, self.place(scope, block))
        self.block(node.body, scope, block)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: LexicalScope, block: Block) -> None:
        for decorator in node.decorator_list:
            self.expression(decorator, scope, block)
        self.name(node.name, Binding(self.place(scope, block), None, "unknown"))
        inner = self.parameters(node.args, scope, block)
        self.block(node.body, inner, Block())

    def lambda_(self, node: ast.Lambda, scope: LexicalScope, block: Block) -> None:
        self.expression(node.body, self.parameters(node.args, scope, block), Block())

    def parameters(self, args: ast.arguments, scope: LexicalScope, block: Block) -> LexicalScope:
        inner = LexicalScope(self.module, scope)
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

    def class_(self, node: ast.ClassDef, scope: LexicalScope, block: Block) -> None:
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.expression(part, scope, block)
        inner = LexicalScope(self.module, scope, is_class=True)
        self.module.classes[node] = inner
        self.name(node.name, Binding(self.place(scope, block), node, "class"))
        self.block(node.body, inner, Block())

    def import_(self, node: ast.Import, scope: LexicalScope, block: Block) -> None:
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            self.name(alias.asname or whole, Binding(self.place(scope, block), ast.Name(whole, ast.Load()), "import"))

    def import_from(self, node: ast.ImportFrom, scope: LexicalScope, block: Block) -> None:
        origin = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                scope.stars.append(origin)
            else:
                whole = ast.Name(join(origin, alias.name), ast.Load())
                binding = Binding(self.place(scope, block), whole, "import")
                self.name(alias.asname or alias.name, binding)

    def global_(self, node: ast.Global | ast.Nonlocal, scope: LexicalScope, block: Block) -> None:
        """What is bound here is bound there: the two share one list."""
        outer = self.module.scope if isinstance(node, ast.Global) else scope.parent or scope
        for name in node.names:
            scope.names[name] = outer.names.setdefault(name, [])

    # expressions

    def walrus(self, node: ast.NamedExpr, scope: LexicalScope, block: Block) -> None:
        self.expression(node.value, scope, block)
        self.bind(node.target, node.value, self.place(scope, block))

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: LexicalScope, block: Block
    ) -> None:
        inner, body = LexicalScope(self.module, scope), Block()
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

    def bind_in(self, scope: LexicalScope, target: ast.AST, binding: Binding, *index: int) -> None:
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

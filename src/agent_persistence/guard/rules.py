"""The rules: what a call breaks wherever it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from agent_persistence.guard.bindings import Place
from agent_persistence.guard.calls import argument
from agent_persistence.guard.known import ADAPTERS, CALLERS, MESSAGES, RAW_NAMES, RAW_ROOTS
from agent_persistence.guard.resolving import Resolver
from agent_persistence.guard.values import Foreign, Value, Verb


def broken_rules(call: ast.Call, place: Place, resolver: Resolver) -> Iterator[tuple[str, str]]:
    """The rules that the call breaks wherever it stands, with the message for each."""
    callees = resolver.values(call.func, place)
    passes = _called_by_another(call, callees)
    constructed = [*callees, *(value for each in passes for value in resolver.values(each, place))]
    origins = [origin for value in constructed for origin in resolver.origins(value)]
    adapter = next((origin.last for origin in origins if origin.last in ADAPTERS), None)
    if adapter:
        yield "AP001", MESSAGES["AP001"].format(name=adapter)
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
                yield from resolver.table_names(argument(call, 0, "table"), place)
            case Foreign(name=name) if name.endswith("bulk_import"):
                yield from resolver.table_names(argument(call, 1, "table"), place)


def _has_rows(call: ast.Call) -> bool:
    """Whether a second argument may be rows: in file.write("clients") and redis.delete("a", "b") there is none."""
    unpacked = any(isinstance(each, ast.Starred) for each in call.args) or any(k.arg is None for k in call.keywords)
    several = unpacked or len(call.args) + len(call.keywords) > 1
    return several and not isinstance(argument(call, 1, "record"), ast.Constant)


def _written_later(call: ast.Call, passes: Sequence[ast.expr], place: Place, resolver: Resolver) -> Iterator[str]:
    """partial(agent.write, "clients"), group.start_soon(agent.write, "clients", record) and the like."""
    for number, passed in enumerate(passes):
        for value in resolver.values(passed, place):
            if isinstance(value, Verb) and value.table is None:
                yield from resolver.table_names(argument(call, number + 1, "table"), place)
            elif isinstance(value, Verb) and value.table:
                yield value.table

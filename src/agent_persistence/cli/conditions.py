"""Conditions of a command line as filters: `status=new`, `score>=0.5`, `name.ilike=%ada%`, `phone.is_null`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

import typer

from agent_persistence.cli.inputs import separated
from agent_persistence.exceptions import ValidationError
from agent_persistence.query import filters as operators
from agent_persistence.query.filters import all_of
from agent_persistence.query.ordering import Order, asc, desc
from agent_persistence.query.predicates import Filter
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.types import Family, family

_FORM: Final = re.compile(
    r'(?P<column>(?:"(?:[^"]|"")+"|[A-Za-z_]\w*)(?:->>?-?\w+)*)'
    r"(?:\.(?P<name>[a-z_]+))?(?:(?P<sign>>=|<=|!=|=|<|>)(?P<text>.*))?",
    re.DOTALL,
)
_SIGNS: Final = {"=": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_SCALAR: Final = ("eq", "ne", "gt", "gte", "lt", "lte")
_TEXT: Final = ("like", "ilike", "match", "imatch", "text_search")
_LIST: Final = ("in", "not_in", "contains", "contained_by", "overlaps", "adjacent")
_CONSTANT: Final = ("is_null", "not_null", "is_true", "is_false")
NAMES: Final = (*_SCALAR, *_TEXT, *_LIST, *_CONSTANT)


def parse_conditions(table: str, conditions: Iterable[str], schema: Schema, option: str = "--where") -> Filter | None:
    """The filter in which all conditions hold; None without any. A wrong one raises typer.BadParameter."""
    terms = [_condition(table, condition, schema, option) for condition in conditions]
    return all_of(*terms) if terms else None


def parse_orders(text: str | None) -> list[Order] | None:
    """The sort keys of `-score,name`: descending where a minus stands before the name."""
    names = separated(text)
    if names is None:
        return None
    return [desc(name[1:]) if name.startswith("-") else asc(name) for name in names]


def _condition(table: str, condition: str, schema: Schema, option: str) -> Filter:
    found = _FORM.fullmatch(condition)
    name = None if found is None else found["name"] or _SIGNS.get(found["sign"] or "")
    if found is None or name is None:
        raise _wrong(condition, option, "write COLUMN=VALUE, COLUMN>=VALUE or COLUMN.OPERATOR=VALUE")
    if name not in NAMES:
        raise _wrong(condition, option, f"{name} is no operator; operators are {', '.join(NAMES)}")
    if found["name"] and found["sign"] not in ("=", None):
        raise _wrong(condition, option, f"between {name} and its value stands =")
    if (found["sign"] is None) != (name in _CONSTANT):
        raise _wrong(condition, option, f"{name} takes {'no' if name in _CONSTANT else 'a'} value")
    return _made(table, _unquoted(found["column"]), name, found["text"], schema, condition, option)


def _unquoted(column: str) -> str:
    """The column, or the path, without the quotes around a name that is no plain one."""
    if not column.startswith('"'):
        return column
    name, _, path = column[1:].rpartition('"')
    return name.replace('""', '"') + path


def _made(table: str, column: str, name: str, text: str | None, schema: Schema, condition: str, option: str) -> Filter:
    function: Callable[..., Filter] = getattr(operators, "in_" if name == "in" else name)
    try:
        if text is None:
            return all_of({column: function()})
        return all_of({column: function(_value(name, text, _family(table, column, schema)))})
    except ValidationError as error:
        raise _wrong(condition, option, "; ".join(error.problems)) from None


def _family(table: str, column: str, schema: Schema) -> Family:
    declared = schema.column(table, column)
    if declared is None:
        return Family.UNKNOWN
    return family(declared.type.removesuffix("[]"))


def _value(name: str, text: str, of: Family) -> Any:
    if name in _TEXT:
        return text
    if name in _LIST and of is not Family.RANGE:
        if text[:1] in "[{" and text:
            try:
                return json.loads(text, parse_float=Decimal)
            except (ValueError, RecursionError):
                pass
        return [_scalar(part, of) for part in text.split(",")] if text else []
    return _scalar(text, of)


def _scalar(text: str, of: Family) -> Any:
    """The text as a value of the column's family; what reads as none stays text, which the database may refuse."""
    if of is Family.BOOLEAN and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if of is Family.NUMBER and re.fullmatch(r"-?\d{1,300}(\.\d{1,300})?", text):
        return Decimal(text) if "." in text else int(text)
    return text


def _wrong(condition: str, option: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(f"{condition!r}: {problem}", param_hint=option)

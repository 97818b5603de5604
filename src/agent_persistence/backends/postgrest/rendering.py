"""The PostgREST codec: calls to requests (`parsing` reads what comes back). Pure; it moves no bytes.

Wire rules: https://docs.postgrest.org/en/v14/references/api/tables_views.html (filters, logical operators, quoting) and
…/preferences.html (Prefer).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, Final
from urllib.parse import quote

from pydantic_core import to_json

from agent_persistence.backends.exact_json import is_json
from agent_persistence.backends.transport.messages import Request
from agent_persistence.exceptions import UnsupportedOperationError, ValidationError
from agent_persistence.operations import Include, Query
from agent_persistence.query.identifiers import RESERVED, base_column, is_path
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import (
    AllOf,
    AnyOf,
    Comparison,
    Exists,
    Filter,
    Not,
    Operator,
    TextQuery,
    existence,
    fold,
)
from agent_persistence.query.records import Record, differ_in_keys, distinct

REST_PATH: Final = "/rest/v1/"
MAX_HEAD: Final = 50_000
"""Bytes of a request's path, query and headers: PostgREST's server takes 51,200, and answers more with a 400 that says
nothing (https://hackage.haskell.org/package/warp, maxTotalHeaderLength). Gateways often take less."""


_JSON: Final = ("Content-Type", "application/json")


def render_insert(
    table: str,
    records: Sequence[Record],
    *,
    on_conflict: Sequence[str] | None = None,
    merges: bool = True,
    returning: Sequence[str] | None = None,
) -> Request:
    """One POST, which is one statement: all rows or none.

    Without `on_conflict` (None) a conflict is an error; with it the row is merged, by the primary key if it is empty,
    or left as it is unless `merges`.
    `returning` are the columns of the stored rows that come back, all of them by default. Their number comes beside
    them, or alone, for which PostgREST needs no right to SELECT: by it rows that a trigger dropped are
    distinguished from an answer that was cut.
    """
    prefer = [_wanted(returning), "count=exact"]
    parameters = [("select", _names(returning))] if returning else []
    if on_conflict is not None:
        prefer.append(f"resolution={'merge' if merges else 'ignore'}-duplicates")
        if on_conflict:
            parameters.append(("on_conflict", _names(on_conflict)))
    if len(records) > 1 and differ_in_keys(records):
        prefer += ["missing=default", "handling=strict"]
        parameters.append(("columns", _names(distinct(name for record in records for name in record))))
    body = to_json(records[0] if len(records) == 1 else list(records))
    return Request("POST", _target(table, parameters), (_JSON, ("Prefer", ", ".join(prefer))), body)


def _wanted(returning: Sequence[str] | None) -> str:
    return "return=minimal" if returning is not None and not returning else "return=representation"


def render_question(table: str, records: Sequence[Record]) -> Request:
    """The insertion of no rows, with the columns and preferences that these records need.

    Its answer says which preferences the server applies. Rights are asked as for the rows themselves, but SELECT;
    triggers of a statement run, those of a row do not.
    """
    return replace(render_insert(table, records, returning=()), body=b"[]")


def render_select(
    table: str,
    filters: Filter | None,
    *,
    select: Sequence[str] | None = None,
    order: Sequence[Order] = (),
    limit: int | None = None,
    offset: int = 0,
    include: Sequence[Include] = (),
) -> Request:
    return Request("GET", target_of(table, filters, select, order, limit, offset, include))


def render_read(table: str, column: str, key: str) -> Request:
    """The select of the rows whose column equals a text, two at most.

    Of most reads the key alone is new: what stands before it is rendered once, which saves half of an adapter's time.
    """
    before = _before_key(table, column)
    if before is None:
        return render_select(table, Comparison(Operator.EQ, key, column), limit=2)
    return Request("GET", f"{before}{_escaped(key)}&limit=2")


@lru_cache(maxsize=1024)
def _before_key(table: str, column: str) -> str | None:
    """The target up to the key, if it ends there."""
    return target_of(table, Comparison(Operator.EQ, "", column), None, (), None, 0) if _is_parameter(column) else None


def target_of(
    table: str,
    filters: Filter | None,
    select: Sequence[str] | None,
    order: Sequence[Order],
    limit: int | None,
    offset: int,
    include: Sequence[Include] = (),
) -> str:
    """The path and query of a select."""
    embedding = _embedding_of(filters, include, count())
    parameters = [("select", _selection(select, embedding)), *_filter_parameters(embedding.filters)]
    parameters += _embedded(embedding, "")
    if order:
        parameters.append(("order", ",".join(map(_sort_key, order))))
    if limit is not None:
        parameters.append(("limit", str(limit)))
    if offset:
        parameters.append(("offset", str(offset)))
    return _target(table, parameters)


@dataclass(frozen=True, slots=True)
class _Embedding:
    """What stands beside the columns of a table: rows that are included, and those that conditions are about.

    `filters` are the other conditions. `existing` says, by the name of what is embedded, whether there may be any.
    """

    filters: Filter | None
    embedded: Sequence[tuple[Include, _Embedding]]
    existing: Sequence[tuple[str, str]]


def _embedding_of(filters: Filter | None, include: Sequence[Include], numbers: Iterator[int]) -> _Embedding:
    """Conditions on related rows that must all hold become embedded rows of no columns, under names of their own.

    Null filtering: https://docs.postgrest.org/en/v14/references/api/resource_embedding.html
    """
    own: list[Filter] = []
    looked_for: list[Include] = []
    existing = []
    terms = filters.terms if isinstance(filters, AllOf) else () if filters is None else (filters,)
    for term in terms if existence(filters) else ():
        match term:
            case (Exists() as exists) | Not(Exists() as exists):
                name = f"_agent_persistence_{next(numbers)}"
                looked_for.append(Include(name, exists.chosen, Query(exists.table, exists.term, select=())))
                existing.append((name, "is.null" if isinstance(term, Not) else "not.is.null"))
            case _:
                own.append(term)
    embedded = [(each, _embedding_of(each.query.filters, each.query.include, numbers)) for each in include]
    embedded += [(each, _embedding_of(each.query.filters, (), numbers)) for each in looked_for]
    return _Embedding(AllOf(tuple(own)) if looked_for else filters, embedded, existing)


def _selection(select: Sequence[str] | None, embedding: _Embedding) -> str:
    """What comes back of each row: https://docs.postgrest.org/en/v14/references/api/resource_embedding.html.

    The column of the foreign key says which one is meant between the same tables. Of rows without columns nothing does.
    """
    columns = ["*"] if select is None else map(_selected, select)
    if not embedding.embedded:
        return ",".join(columns)
    related = [
        f"{_name(each.name)}:{_name(each.query.table)}!{_name(each.link.via)}({_selection(each.query.select, inner)})"
        for each, inner in embedding.embedded
    ]
    return ",".join([*columns, *related])


def _embedded(embedding: _Embedding, path: str) -> Iterator[tuple[str, str]]:
    """The parameters that choose, sort and limit related rows, each behind the `path` of their names."""
    for name, value in embedding.existing:
        yield f"{path}{name}", value
    for include, inner in embedding.embedded:
        query, within = include.query, f"{path}{_name(include.name)}."
        for name, value in _filter_parameters(inner.filters):
            yield f"{within}{name}", value
        if query.order:
            yield f"{within}order", ",".join(map(_sort_key, query.order))
        if query.limit is not None:
            yield f"{within}limit", str(query.limit)
        yield from _embedded(inner, within)


SHORT: Final = 4096
"""Bytes of a target beside which no credentials make a head too long."""
_BETWEEN: Final = len(": \r\n")


def checked_head(request: Request) -> Request:
    """The request, if path, query and headers together are no longer than the server reads."""
    head = len(request.target) + sum(len(name) + len(value) + _BETWEEN for name, value in request.headers)
    if head > MAX_HEAD:
        table = request.target.partition("?")[0].rpartition("/")[2]
        raise ValidationError(
            table,
            f"the filters need a URL of {len(request.target)} bytes; with its headers the request would have {head},"
            f" and at most {MAX_HEAD} can be sent; ask for fewer values",
        )
    return request


def render_count(
    table: str, filters: Filter | None, *, select: Sequence[str] | None = None, estimated: bool = False
) -> Request:
    """A page of no rows, whose Content-Range has the total; `select` need only name what may be read."""
    return counted(render_select(table, filters, select=select, limit=0), estimated=estimated)


def counted(request: Request, *, estimated: bool = False) -> Request:
    """The select whose answer also has the number of rows without limit and offset.

    An estimate is exact up to the server's max-rows:
    https://docs.postgrest.org/en/v14/references/api/pagination_count.html#estimated-count.
    """
    return replace(request, headers=(("Prefer", f"count={'estimated' if estimated else 'exact'}"),))


def render_update(
    table: str,
    changes: Record,
    filters: Filter,
    *,
    max_affected: int | None = None,
    returning: Sequence[str] | None = None,
) -> Request:
    return _change("PATCH", table, filters, max_affected, returning, body=to_json(changes))


def render_delete(
    table: str, filters: Filter, *, max_affected: int | None = None, returning: Sequence[str] | None = None
) -> Request:
    return _change("DELETE", table, filters, max_affected, returning)


def _change(
    method: str,
    table: str,
    filters: Filter,
    max_affected: int | None,
    returning: Sequence[str] | None,
    body: bytes = b"",
) -> Request:
    """`limit` would be ignored here since PostgREST 13; `max-affected` is enforced, and rolls back, when strict."""
    prefer = _wanted(returning)
    parameters = [("select", _names(returning))] if returning else []
    if max_affected is not None:
        prefer += f", handling=strict, max-affected={max_affected}"
    headers = (_JSON, ("Prefer", prefer)) if body else (("Prefer", prefer),)
    target = _target(table, (*parameters, *_filter_parameters(filters)))
    return Request(method, target, headers, body)


CALL_BY_URL: Final = 2048
"""Bytes of arguments above which a call goes by POST."""
_COUNTED: Final = ("Prefer", "count=exact")


def render_call(function: str, arguments: Record, *, by_url: bool) -> Request:
    """A call that also asks how many rows there are; the server runs it in a read-only transaction if it is a GET.

    POST where a URL would not do, or would change what an argument means: it is long, null or no scalar, a text that
    a parameter of type json would read as a document, or what PostgREST would take for a parameter of its own (`limit`)
    or for a filter of the result (`eq.x`).
    """
    if by_url and all(map(_is_argument, arguments, arguments.values())):
        target = _target(function, [(name, _raw(value)) for name, value in arguments.items()], below="rpc/")
        if len(target) <= CALL_BY_URL:
            return Request("GET", target, (_COUNTED,))
    return Request("POST", _target(function, (), below="rpc/"), (_JSON, _COUNTED), to_json(arguments))


_LIKE_A_FILTER = re.compile(r"(not\.)?[a-z]+(\([a-z_]+\))?\.")


def _is_argument(name: str, value: Any) -> bool:
    if name in RESERVED or value is None or isinstance(value, (list, dict)):
        return False
    return not isinstance(value, str) or not (_LIKE_A_FILTER.match(value) or is_json(value))


def render_openapi() -> Request:
    return Request("GET", REST_PATH, (("Accept", "application/openapi+json"),))


def _target(name: str, parameters: Sequence[tuple[str, str]], *, below: str = "") -> str:
    """The path of a table, or of a function below `rpc/`, which no character of its name can leave."""
    if name in ("", ".", ".."):
        raise ValidationError(name, "this is a path, not a name")
    path = f"{REST_PATH}{below}{_escaped_name(name)}"
    if not parameters:
        return path
    query = [f"{_escaped_name(key)}={value if _is_safe(value) else _escaped(value)}" for key, value in parameters]
    return f"{path}?{'&'.join(query)}"


_SAFE: Final = "(),:*"
_is_safe: Final = re.compile(r"[A-Za-z0-9_.~(),:*-]*").fullmatch


def _escaped(value: str) -> str:
    """`quote` looks at every character in Python, for a microsecond; most values have none to be escaped."""
    return value if _is_safe(value) else quote(value, safe=_SAFE)


@lru_cache(maxsize=1024)
def _escaped_name(name: str) -> str:
    return quote(name, safe="")


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _name(column: str) -> str:
    """The name as a request holds it (pFieldName in PostgREST's QueryParams.hs).

    A column named * cannot be asked for: PostgREST takes it for all columns, quoted or not (pgFmtColumn in
    SqlFragment.hs).
    """
    if column == "*":
        raise ValidationError(column, "PostgREST reads this name as all columns")
    return column if _PLAIN_NAME.fullmatch(column) else _quoted(column)


def _field(column: str) -> str:
    """A column, or a path of one, where something is read. Quotes around all would make one name of a path."""
    if "->" not in column:
        return _name(column)
    base = base_column(column)
    return f"{_name(base)}{column[len(base) :]}"


def _selected(column: str) -> str:
    """A path under the alias of its own name; PostgREST would give it that of its last key."""
    return f"{_quoted(column)}:{_field(column)}" if is_path(column) else _name(column)


def _is_parameter(column: str) -> bool:
    """Whether PostgREST takes a parameter of this name for a filter of the column."""
    return _PLAIN_NAME.fullmatch(base_column(column)) is not None and column not in RESERVED


def _sort_key(key: Order) -> str:
    nulls = f".nulls{key.nulls}" if key.nulls else ""
    return f"{_field(key.column)}.{'desc' if key.descending else 'asc'}{nulls}"


def _names(columns: Iterable[str]) -> str:
    return ",".join(map(_name, columns))


def _filter_parameters(filters: Filter | None) -> list[tuple[str, str]]:
    """Conditions that must all hold, one parameter each; at this level values are raw, quotes would be literal."""
    if filters is None:
        return []
    folded = fold(filters)
    return [*map(_parameter, folded.terms if isinstance(folded, AllOf) else (folded,))]


def _parameter(term: Filter) -> tuple[str, str]:
    match term:
        case Comparison(column=str(column)) if _is_parameter(column):
            return column, _condition(term, _raw)
        case Not(Comparison(column=str(column)) as leaf) if _is_parameter(column):
            return column, f"not.{_condition(leaf, _raw)}"
        case AnyOf(terms):
            return "or", _group(terms)
        case _:
            return "and", _group((term,))


def _logic(term: Filter) -> str:
    """A condition inside parentheses, where reserved characters are protected by quotes."""
    match term:
        case Comparison(column=column):
            return f"{_field(column or '')}.{_condition(term, _protected)}"
        case AllOf(terms):
            return f"and{_group(terms)}"
        case AnyOf(terms):
            return f"or{_group(terms)}"
        case Not(Comparison(column=column) as leaf):
            return f"{_field(column or '')}.not.{_condition(leaf, _protected)}"
        case Not(Not(term)):
            return _logic(term)
        case Not(term):
            return f"not.{_logic(term)}"
        case Exists(table=table):
            raise UnsupportedOperationError(table, "exists", _NOT_ALL_HOLD)


_NOT_ALL_HOLD: Final = (
    "over PostgREST a condition on related rows stands among those that must all hold, itself or negated, and not below"
    " any_of or not_ of several; ask in two calls, and join the rows"
)


def _group(terms: Iterable[Filter]) -> str:
    return f"({','.join(map(_logic, terms))})"


_CONSTANT: Final = {
    Operator.IS_NULL: "is.null",
    Operator.NOT_NULL: "not.is.null",
    Operator.IS_TRUE: "is.true",
    Operator.IS_FALSE: "is.false",
}
_WIRE: Final = {
    Operator.NE: "neq",
    Operator.CONTAINS: "cs",
    Operator.CONTAINED_BY: "cd",
    Operator.OVERLAPS: "ov",
    Operator.ADJACENT: "adj",
}
_SEARCH: Final = {"plain": "plfts", "phrase": "phfts", "websearch": "wfts", "tsquery": "fts"}


def _condition(leaf: Comparison, text: Any) -> str:
    if leaf.operator in _CONSTANT:
        return _CONSTANT[leaf.operator]
    if leaf.operator in (Operator.IN, Operator.NOT_IN):
        if leaf.operand == ("",):  # PostgREST reads in.("") as the empty list
            return f"{'neq' if leaf.operator is Operator.NOT_IN else 'eq'}.{text('')}"
        members = ",".join(map(_protected, leaf.operand))
        return f"{'not.' if leaf.operator is Operator.NOT_IN else ''}in.({members})"
    operand = leaf.operand
    if isinstance(operand, TextQuery):
        config = f"({operand.config})" if operand.config else ""
        return f"{_SEARCH[operand.kind]}{config}.{text(operand.text)}"
    if isinstance(operand, tuple):
        operand = _array(operand)
    elif isinstance(operand, dict):
        operand = to_json(operand).decode()
    return f"{_WIRE.get(leaf.operator, leaf.operator)}.{text(operand)}"


def _array(items: Iterable[Any]) -> str:
    """An array as PostgreSQL writes it, `{"a","b,c"}`; its elements are quoted as those of a list are."""
    return "{" + ",".join("null" if item is None else _protected(item) for item in items) + "}"


def _raw(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _protected(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else to_json(value).decode()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

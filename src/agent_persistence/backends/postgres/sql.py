"""The verbs as SQL: rows go in and come out as JSON, which PostgreSQL itself reads and writes. Pure.

A record is read by `json_populate_record`, as PostgREST has it read, and a row is written by `json_agg`, so that both
adapters take and return the same values.
"""

# ruff: noqa: S608  every name is quoted by `statements`, every value is a parameter

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.postgres.filters import FilterFacts, condition, selected, sort_key, where
from agent_persistence.backends.postgres.statements import Parameters, Statement, document, names, quoted
from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import Include
from agent_persistence.query.computed import Increment, Merge, operands
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Filter
from agent_persistence.query.records import Record, differ_in_keys, distinct

ROW: Final = "_agent_persistence_row"
"""The alias of what comes back: a column of this name would come in its place."""
MAX_PARAMETERS: Final = 65_535
"""The protocol counts them by 16 bits."""
_AS_JSON: Final = f"select coalesce(json_agg({ROW}), '[]')::text, count(*)::text from"


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one table, which `known.rows` names, and what is related to each. Names are quoted, here and below.

    The columns are not qualified, so that they must be the table's own: within related rows those of the rows around
    would do as well.
    """

    known: FilterFacts
    predicate: Filter | None
    columns: Sequence[str] | None = None
    order: Sequence[Order] = ()
    limit: int | None = None
    offset: int = 0
    related: Sequence[tuple[Include, Selection]] = ()


def select(selection: Selection) -> Statement:
    """The rows as one JSON array."""
    parameters = Parameters()
    text = _selected(selection, parameters, 0, "")
    return Statement(f"{_AS_JSON} ({text}) as {ROW}", parameters.in_order())


def page(selection: Selection) -> Statement:
    """The rows, and how many there are without limit and offset, as one JSON object, of one moment."""
    parameters = Parameters()
    text = _selected(selection, parameters, 0, "")
    everything = f"{selection.known.rows}{where(selection.predicate, selection.known, parameters)}"
    total = f"(select count(*) from {everything})"
    columns = f"json_build_object('rows', coalesce(json_agg({ROW}), '[]'), 'total', {total})::text, count(*)::text"
    return Statement(f"select {columns} from ({text}) as {ROW}", parameters.in_order())


def _selected(selection: Selection, parameters: Parameters, depth: int, link: str) -> str:
    """The statement for rows that are `depth` tables away, and `link`ed to those around."""
    alias = f"_agent_persistence_{depth}"
    shown = [", ".join(map(selected, selection.columns)) if selection.columns else f"{alias}.*"]
    for include, inner in selection.related:
        way = include.link
        joined = f"_agent_persistence_{depth + 1}.{quoted(way.theirs)} = {alias}.{quoted(way.ours)}"
        rows = f"({_selected(inner, parameters, depth + 1, joined)}) as {ROW}"
        as_json = f"coalesce(json_agg({ROW}), '[]')" if way.many else f"row_to_json({ROW})"
        shown.append(f"(select {as_json} from {rows}) as {quoted(include.name)}")
    text = f"select {', '.join(shown)} from {selection.known.rows} as {alias}"
    conditions = [link] if link else []
    if selection.predicate is not None:
        conditions.append(condition(selection.predicate, replace(selection.known, rows=alias), parameters))
    if conditions:
        text += f" where {' and '.join(conditions)}"
    if selection.order:
        text += f" order by {', '.join(map(sort_key, selection.order))}"
    if selection.limit is not None:
        text += f" limit {parameters.add(str(selection.limit))}"
    if selection.offset:
        text += f" offset {parameters.add(str(selection.offset))}"
    return text


def count(known: FilterFacts, predicate: Filter | None) -> Statement:
    parameters = Parameters()
    chosen = where(predicate, known, parameters)
    return Statement(f"select count(*)::text from {known.rows}{chosen}", parameters.in_order())


def estimate(known: FilterFacts, predicate: Filter | None) -> Statement:
    """The plan of reading the rows as JSON, which is made and not carried out."""
    parameters = Parameters()
    chosen = f"select from {known.rows}{where(predicate, known, parameters)}"
    return Statement(f"explain (format json) {chosen}", parameters.in_order())


def estimated(plan: bytes) -> int:
    """The number of rows that the plan expects (https://www.postgresql.org/docs/current/using-explain.html)."""
    return int(read_json(plan)[0]["Plan"]["Plan Rows"])


def insert(
    table: str,
    records: Sequence[Record],
    *,
    on_conflict: Sequence[str] | None = None,
    merges: bool = True,
    returning: Sequence[str] | None = None,
) -> Statement:
    """One statement, all rows or none; a column that a record lacks takes its default.

    `on_conflict` are the columns by which a row that exists is merged, or left as it is unless `merges`; None for an
    error. `returning` are the columns that come back, all by default.
    """
    parameters = Parameters()
    text = inserting(table, records, parameters, on_conflict=on_conflict, merges=merges)
    return _returning(text, parameters.in_order(), returning)


def inserting(
    table: str,
    records: Sequence[Record],
    parameters: Parameters,
    *,
    on_conflict: Sequence[str] | None = None,
    merges: bool = True,
) -> str:
    """The text of the insert, whose values are among the parameters; nothing comes back yet."""
    columns = distinct(name for record in records for name in record)
    source = _of_several_kinds if differ_in_keys(records) else _of_one_kind
    text = source(table, columns, records, parameters)
    merging = "" if on_conflict is None else merge(columns if merges else (), on_conflict)
    return f"{_into(table, columns)} {text}{merging}"


def reading(table: str, records: Sequence[Record]) -> Statement:
    """All values are read as those of the columns, and nothing is done with them: a wrong one is an error."""
    parameters = Parameters()
    read = document([*map(operands, records)], parameters)
    return Statement(f"select count(*) from json_populate_recordset(null::{table}, {read})", parameters.in_order())


def _into(table: str, columns: Sequence[str]) -> str:
    return f"insert into {table} ({names(columns)})" if columns else f"insert into {table}"


def merge(columns: Sequence[str], on_conflict: Sequence[str]) -> str:
    """How a row that exists takes over the columns; without any it is left as it is."""
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in columns)
    return f" on conflict ({names(on_conflict)}) do " + (f"update set {changes}" if changes else "nothing")


def _of_one_kind(table: str, columns: Sequence[str], records: Sequence[Record], parameters: Parameters) -> str:
    read = document(records, parameters)
    return f"select {names(columns)} from json_populate_recordset(null::{table}, {read})"


def _of_several_kinds(table: str, columns: Sequence[str], records: Sequence[Record], parameters: Parameters) -> str:
    """`values` alone knows the word `default`. A record is read once for each of its columns there."""
    if len(records) > MAX_PARAMETERS:
        raise ValidationError(
            table.rpartition(".")[2].strip('"'),
            f"{len(records)} records of different keys, of which at most {MAX_PARAMETERS} can be sent at once;"
            " give every record the same keys, NULL where it has no value",
        )
    rows = []
    for record in records:
        read = document(record, parameters) if record else "null::json"  # each parameter has to be used
        row = f"json_populate_record(null::{table}, {read})"
        values = (f"({row}).{quoted(name)}" if name in record else "default" for name in columns)
        rows.append(f"({', '.join(values)})")
    return f"values {', '.join(rows)}"


def update(
    known: FilterFacts, changes: Record, predicate: Filter | None, *, returning: Sequence[str] | None = None
) -> Statement:
    """Set the columns. Whether wrong values are refused where no row is selected is the planner's choice."""
    parameters = Parameters()
    text = updating(known, changes, predicate, parameters)
    return _returning(text, parameters.in_order(), returning)


def updating(known: FilterFacts, changes: Record, predicate: Filter | None, parameters: Parameters) -> str:
    """The text of the update, whose values are among the parameters; nothing comes back yet."""
    given = f"json_populate_record(null::{known.rows}, {document(operands(changes), parameters)}) as {_GIVEN}"
    values = [_new(known.rows, quoted(name), value) for name, value in changes.items()]
    chosen = where(predicate, known, parameters)
    return f"update {known.rows} set ({names(changes)}) = (select {', '.join(values)} from {given}){chosen}"


_GIVEN: Final = "_agent_persistence_given"


def _new(table: str, column: str, value: Any) -> str:
    """What the column is set to. `sign` takes numbers alone and `jsonb_typeof` jsonb alone, where `+` and `||` would do
    something else with other types; `jsonb_each` refuses a document that is no object."""
    old, given = f"{table}.{column}", f"{_GIVEN}.{column}"
    match value:
        case Increment():
            return f"case when sign({given}) is not null then {old} + {given} end"
        case Merge():
            other = f"coalesce((select value from jsonb_each({old})), {given})"
            return f"case jsonb_typeof({old}) when 'object' then {old} || {given} else {other} end"
    return given


def delete(known: FilterFacts, predicate: Filter | None, *, returning: Sequence[str] | None = None) -> Statement:
    parameters = Parameters()
    text = f"delete from {known.rows}{where(predicate, known, parameters)}"
    return _returning(text, parameters.in_order(), returning)


def _returning(text: str, parameters: tuple[str | None, ...], returning: Sequence[str] | None) -> Statement:
    """The statement with these columns of its rows as a JSON array; without any, it needs no right to SELECT."""
    if returning is not None and not returning:
        return Statement(text, parameters)
    columns = "*" if returning is None else names(returning)
    return Statement(f"with {ROW} as ({text} returning {columns}) {_AS_JSON} {ROW}", parameters)


def settings(
    role: str | None, claims: str | None, search_path: str | None, limit_ms: int | None, *, writes: bool
) -> Statement | None:
    """What holds until the transaction ends; None where there is nothing to set.

    A transaction that does not write cannot: PostgreSQL lets nothing within it change that. The time limit of a
    statement is made shorter by `limit_ms`, never longer. The role comes last: what is set before needs its rights no
    more.
    """
    parameters = Parameters()
    parts = [] if writes else ["set_config('transaction_read_only', 'on', true)"]
    if limit_ms is not None:
        own = "nullif(extract(epoch from current_setting('statement_timeout')::interval) * 1000, 0)"
        parts.append(
            f"set_config('statement_timeout', least({own}, {parameters.add(str(limit_ms))})::bigint::text, true)"
        )
    if search_path is not None:
        first = parameters.add(f"{quoted(search_path)}, ")
        parts.append(f"set_config('search_path', {first}::text || current_setting('search_path'), true)")
    if claims is not None:
        parts.append(f"set_config('request.jwt.claims', {parameters.add(claims)}, true)")
    if role is not None:
        parts.append(f"set_config('role', {parameters.add(role)}, true)")
    return Statement(f"select {', '.join(parts)}", parameters.in_order()) if parts else None

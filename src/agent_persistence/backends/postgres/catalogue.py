"""What the database says of its tables and functions: the questions in SQL, and the answers as values. Pure."""

# ruff: noqa: S608  every name is quoted by `statements`, every value is a parameter

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent_persistence.backends.postgres.filters import JSON_TYPES
from agent_persistence.backends.postgres.sql import ROW
from agent_persistence.backends.postgres.statements import Parameters, Statement, earlier_value, quoted
from agent_persistence.backends.texts import array_text, json_text, text_of
from agent_persistence.exceptions import AdapterError, printable
from agent_persistence.query.records import Record
from agent_persistence.query.references import Reference

ARRAY: Final = "A"
COMPOSITE: Final = "C"

_TYPE: Final = """format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null), t.typcategory,
      case when 'd' in (e.typtype, b.typtype) then 'C' else e.typcategory end"""
"""Of a domain within an array or a domain the catalogue alone knows the values, as of rows."""
_JOINED: Final = """left join pg_catalog.pg_type e on e.oid = t.typelem and t.typcategory = 'A'
      left join pg_catalog.pg_type b on b.oid = t.typbasetype"""
_TABLE: Final = f"""
select json_build_object(
  'columns', (
    select coalesce(json_agg(json_build_array(a.attname, {_TYPE}) order by a.attnum), '[]')
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid {_JOINED}
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  'primary_key', (
    select coalesce(json_agg(a.attname order by k.n), '[]')
    from pg_catalog.pg_index i, unnest(i.indkey) with ordinality as k(attnum, n), pg_catalog.pg_attribute a
    where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum),
  'given_by_server', (
    select coalesce(json_agg(a.attname), '[]') from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and not a.attisdropped and (a.attidentity = 'a' or a.attgenerated <> '')),
  'takes_copy', c.relkind in ('r', 'p') and not c.relrowsecurity and not c.relhasrules)::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')"""
_FUNCTION: Final = f"""
select coalesce(json_agg(json_build_object(
  'arguments', (
    select coalesce(json_agg(json_build_array(a.name, {_TYPE}) order by a.n), '[]')
    from unnest(p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes)
      with ordinality as a(name, type, mode, n) join pg_catalog.pg_type t on t.oid = a.type {_JOINED}
    where coalesce(a.mode, 'i') in ('i', 'b', 'v')),
  'defaults', p.pronargdefaults,
  'variadic', p.proargnames[array_position(p.proargmodes, 'v'::"char")],
  'returns_set', p.proretset,
  'returns_rows', r.typtype = 'c' or coalesce(p.proargmodes && '{{t,b,o}}', false),
  'returns_nothing', r.typname = 'void')), '[]')::text
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_type r on r.oid = p.prorettype
where n.nspname = $1 and p.proname = $2 and p.prokind = 'f'"""


def ask_table(db_schema: str, table: str) -> Statement:
    return Statement(_TABLE, (db_schema, table))


def ask_function(db_schema: str, function: str) -> Statement:
    return Statement(_FUNCTION, (db_schema, function))


@dataclass(frozen=True, slots=True)
class Type:
    """A column's or argument's type by name, the base type of a domain; categories are those in pg_type."""

    name: str
    category: str
    of_elements: str | None = None

    @property
    def is_json(self) -> bool:
        return self.name in JSON_TYPES

    @property
    def has_rows(self) -> bool:
        """Whether its values are rows, or lists of them: how a JSON object becomes one only INSERT knows."""
        return COMPOSITE in (self.category, self.of_elements)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as it is; no columns where there is none."""

    columns: Mapping[str, Type] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    takes_copy: bool = False
    """Whether COPY writes as INSERT does: a view or row-level security it does not take, and it passes rules by."""
    given_by_server: frozenset[str] = frozenset()
    """Columns that INSERT refuses values for (428C9) and COPY overwrites: identities generated always, and generated
    ones."""

    @classmethod
    def of(cls, answer: Mapping[str, Any] | None) -> TableFacts:
        if answer is None:
            return cls()
        return cls(
            _types(answer["columns"]),
            tuple(answer["primary_key"]),
            answer["takes_copy"],
            frozenset(answer["given_by_server"]),
        )

    @property
    def types(self) -> dict[str, str]:
        """The name of each column's type."""
        return {name: type_.name for name, type_ in self.columns.items()}


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """One function of the name that was asked for; `defaults` of its last arguments may be left out, and `variadic`
    is the name of the one that takes a list for the rest."""

    arguments: Mapping[str, Type]
    defaults: int
    variadic: str | None
    returns_set: bool
    returns_rows: bool
    returns_nothing: bool

    @classmethod
    def all_of(cls, answer: Sequence[Mapping[str, Any]]) -> tuple[FunctionFacts, ...]:
        return tuple(cls(**{**one, "arguments": _types(one["arguments"])}) for one in answer)

    def takes(self, given: Collection[str]) -> bool:
        needed = list(self.arguments)[: len(self.arguments) - self.defaults]
        return set(needed) <= set(given) <= self.arguments.keys()


def _types(listed: Sequence[Sequence[str]]) -> dict[str, Type]:
    return {name: Type(*type_) for name, *type_ in listed}


def chosen(function: str, found: Sequence[FunctionFacts], arguments: Record) -> FunctionFacts:
    """The one that takes these arguments; AdapterError with PostgREST's codes where there is none, or several."""
    fitting = [facts for facts in found if facts.takes(arguments)]
    if len(fitting) == 1:
        return fitting[0]
    wanted = f"{printable(function)} with the arguments ({', '.join(arguments)})"
    if fitting:
        raise AdapterError(
            f"call on {wanted}: there are {len(fitting)} such functions, of different types", code="PGRST203"
        )
    raise AdapterError(f"call on {wanted}: there is no such function", code="PGRST202")


def call(function: str, facts: FunctionFacts, arguments: Record) -> Statement:
    """The call, whose value comes back as JSON: rows as objects, a set as an array. `function` is quoted already."""
    parameters = Parameters()
    named = {
        name: f"{quoted(name)} => {_argument(value, facts.arguments[name], parameters)}"
        for name, value in arguments.items()
    }
    given = [text for name, text in named.items() if name != facts.variadic]
    given += [f"variadic {text}" for name, text in named.items() if name == facts.variadic]
    called = f"{function}({', '.join(given)})"
    source = f"(select * from {called})" if facts.returns_rows else called
    column = "null::text" if facts.returns_nothing else f"to_json({ROW})::text"
    if facts.returns_set:
        column = f"coalesce(json_agg({ROW}), '[]')::text"
    return Statement(f"select {column} from {source} as {ROW}", parameters.in_order())


def _argument(value: Any, type_: Type, parameters: Parameters) -> str:
    """What stands for the value, or for that which an earlier part of the transaction returned."""
    if isinstance(value, Reference):
        return f"{earlier_value(value, parameters, as_text=not type_.is_json)}::{type_.name}"
    return parameters.add(as_text(value, type_))


def as_text(value: Any, type_: Type) -> str | None:
    """A JSON value as the text that a column or argument of the type reads, as `json_populate_record` reads it."""
    if value is None:
        return None
    if type_.is_json:
        return json_text(value)
    if type_.category == ARRAY and isinstance(value, list):
        return array_text(value, json_text if type_.name.removesuffix("[]") in JSON_TYPES else text_of)
    return text_of(value)

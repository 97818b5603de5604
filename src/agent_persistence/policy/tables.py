"""What a service may touch. Checked by the guard, before any request leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, TypeAlias

from agent_persistence.exceptions import ConfigurationError, ValidationError, printable
from agent_persistence.policy import filter_json
from agent_persistence.presets.crm import BUSINESS_TABLES, GOVERNANCE_TABLES
from agent_persistence.query.filters import Filters, parse_filters
from agent_persistence.query.identifiers import base_column, is_identifier, is_name
from agent_persistence.query.predicates import Filter, comparisons, existence
from agent_persistence.schema import files
from agent_persistence.schema.checks import check_column_name, entries, located, several
from agent_persistence.schema.links import linked
from agent_persistence.schema.registry import Schema


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that may be read, and those that may be written; None is all of them."""

    read: frozenset[str] | None = None
    write: frozenset[str] | None = None


ColumnLists: TypeAlias = Iterable[str] | Mapping[str, Iterable[str]] | Columns
"""The columns that may be read and written; or a mapping with the keys "read" and "write", or one of them."""


_ALL: Final = Columns()
_TABLES: Final = ("read", "write", "delete")
_FUNCTIONS: Final = ("call", "call_write")
_BOUNDS: Final = ("max_rows", "max_filters", "max_list", "max_batch", "max_value_bytes")


@dataclass(frozen=True, slots=True, init=False)
class TablePolicy:
    """What may be touched; anything not named is denied, so that `TablePolicy()` allows nothing.

    `read`, `write` (insert, update, upsert) and `delete` list tables; update and delete choose rows by their content
    and so need `read` as well. `call` lists functions that only read and `call_write` functions that may write.

    `columns` limits a table to some columns: a list for both, or {"read": […], "write": […]}. A column that may not be
    read may be neither selected, filtered by, sorted by nor merged by. `rows` limits a table to the rows that a filter
    selects: others are neither read nor changed; what is written gets the values that the filter's equalities name, and
    may not name the other columns that the filter compares, so that a new row has their defaults. A filter on related
    rows (`exists`) looks into tables and columns that may be read, all of their rows.

    `max_rows` is the most rows one query may return, `max_filters` the most comparisons in one call, `max_list` the
    most values in one list of a filter, `max_batch` the most rows in a batch, `max_value_bytes` the size of the largest
    value, as JSON. All collections are copied, so that later edits of theirs change nothing.
    """

    read: frozenset[str]
    write: frozenset[str]
    delete: frozenset[str]
    call: frozenset[str]
    call_write: frozenset[str]
    columns: Mapping[str, Columns]
    rows: Mapping[str, Filter]
    max_rows: int
    max_filters: int
    max_list: int
    max_batch: int
    max_value_bytes: int

    def __init__(
        self,
        *,
        read: Iterable[str] = (),
        write: Iterable[str] = (),
        delete: Iterable[str] = (),
        call: Iterable[str] = (),
        call_write: Iterable[str] = (),
        columns: Mapping[str, ColumnLists] = MappingProxyType({}),
        rows: Mapping[str, Filters] = MappingProxyType({}),
        max_rows: int = 100_000,
        max_filters: int = 500,
        max_list: int = 5_000,
        max_batch: int = 10_000,
        max_value_bytes: int = 16 * 2**20,
    ) -> None:
        given = locals()
        for rule in _TABLES:
            object.__setattr__(self, rule, table_names(rule, given[rule]))
        for rule in _FUNCTIONS:
            object.__setattr__(self, rule, function_names(rule, given[rule]))
        for bound in _BOUNDS:
            object.__setattr__(self, bound, _at_least_one(bound, given[bound]))
        object.__setattr__(self, "columns", MappingProxyType(self._by_table("columns", columns, _columns)))
        object.__setattr__(self, "rows", MappingProxyType(self._by_table("rows", rows, parsed_rows)))
        for table, parsed in self.rows.items():
            self._check_related(f"rows.{table}", parsed)

    def __hash__(self) -> int:
        return hash((self.read, self.write, self.delete, self.call, self.call_write))

    def __reduce__(self) -> tuple[Any, ...]:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return _restored, (type(self), given | {"columns": dict(self.columns), "rows": dict(self.rows)})

    def _by_table(self, option: str, given: Any, parse: Any) -> dict[str, Any]:
        with located(option):
            rules = entries(given)
        for table in rules:
            if table not in self.read | self.write | self.delete:
                raise ConfigurationError(
                    f"{option}: {printable(table)} is in none of the lists read, write and delete,"
                    " so that a rule for it would allow nothing"
                )
        return {table: parse(f"{option}.{table}", rule) for table, rule in rules.items()}

    def linked(self, schema: Schema) -> Self:
        """The policy whose rows know by which declared foreign keys related rows are found; ConfigurationError where
        there is none."""
        if not any(map(existence, self.rows.values())):
            return self
        rows = {}
        for table, rule in self.rows.items():
            try:
                rows[table] = linked(schema, table, rule)
            except ValidationError as error:
                raise ConfigurationError(f"rows.{table}: {'; '.join(error.problems)}") from error
        return replace(self, rows=rows)

    def _check_related(self, option: str, rule: Filter) -> None:
        """Refuse conditions on related rows that a query of these would not be allowed."""
        for exists in existence(rule):
            if exists.table not in self.read:
                raise ConfigurationError(f"{option}: {printable(exists.table)} is looked into, and so must be in read")
            listed = self.readable(exists.table)
            for leaf in comparisons(exists.term):
                if listed is not None and base_column(leaf.column or "") not in listed:
                    named = f"{exists.table}.{leaf.column}"
                    raise ConfigurationError(f"{option}: {named} is compared, and so must be in columns to read")
            self._check_related(option, exists.term)

    def readable(self, table: str) -> frozenset[str] | None:
        """The columns of the table that may be read; None is all of them."""
        return self.columns.get(table, _ALL).read

    def writable(self, table: str) -> frozenset[str] | None:
        """The columns of the table that may be written; None is all of them."""
        return self.columns.get(table, _ALL).write

    def explain(self, table: str) -> str:
        """What may be done with a table or function of this name, and which rule says so, as lines of text."""
        lines = [f"{printable(table)[1:-1]}:"]
        for verb, needed in _VERBS.items():
            missing = [rule for rule in needed if table not in getattr(self, rule)]
            lists = " and ".join(missing or needed)
            lines.append(f"  {verb}: {f'no: it is not in {lists}' if missing else f'yes: it is in {lists}'}")
        for kind in ("read", "write"):
            listed = getattr(self.columns.get(table, _ALL), kind)
            if table in getattr(self, kind):
                lines.append(f"  columns to {kind}: {'all' if listed is None else ', '.join(sorted(listed)) or 'none'}")
        if table in self.rows:
            lines.append(f"  rows: those where {self.rows[table]!r}")
        return "\n".join(lines)

    @classmethod
    def default(cls) -> Self:
        """The policy where none is given: the eight business tables, of which clients and campaigns are not written."""
        return cls(read=BUSINESS_TABLES, write=BUSINESS_TABLES - GOVERNANCE_TABLES)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a policy from a `.toml` or `.json` file, whose keys are the arguments of this class.

            read = ["leads", "messages"]
            write = ["messages"]
            max_rows = 1000

            [columns]
            leads = { read = ["id", "email", "score"], write = [] }

            [rows.leads]
            status = "open"
            score = { gte = 0.5, lt = 0.9 }  # operators of `filters`, by their names
            deleted_at = { is_null = true }
            any_of = [{ region = "eu" }, { owner = { in = ["ada", "bob"] } }]      # also all_of and not

        A list that a file leaves out is empty; an unknown key raises ConfigurationError.
        """
        with located(str(path)):
            return cls.from_document(files.read(Path(path)))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Make a policy from the mapping that a file of `from_file` holds."""
        options = entries(document, known=tuple(field.name for field in fields(cls)))
        if "rows" in options:
            with located("rows"):
                options["rows"] = {table: _filters(table, rule) for table, rule in entries(options["rows"]).items()}
        return cls(**options)


def _restored(made: type[TablePolicy], given: dict[str, Any]) -> TablePolicy:
    return made(**given)


_VERBS: Final = {
    "read, query, count, iterate, get_columns": ("read",),
    "write, batch_write, upsert": ("write",),
    "update": ("write", "read"),
    "delete": ("delete", "read"),
    "call": ("call",),
    "call of a function that writes": ("call_write",),
}


def table_names(option: str, names: Iterable[str]) -> frozenset[str]:
    """The names of tables as a set; a name that no table could have is a ConfigurationError, which names `option`.

    Whether a name that is no plain one is declared, a Guard checks, which knows the schema.
    """
    return _names(option, names, is_name, "no table; a name is a text of 1 to 63 bytes")


def function_names(option: str, names: Iterable[str]) -> frozenset[str]:
    """The names of functions as a set, all of them plain; else a ConfigurationError, which names `option`."""
    return _names(option, names, is_identifier, "no function; names are lower-case letters, digits and _")


def _names(option: str, names: Iterable[str], is_known: Callable[[object], bool], wrong: str) -> frozenset[str]:
    if isinstance(names, str):
        raise ConfigurationError(f"{option} is a collection of names, not a single str: write {{{names!r}}}")
    try:
        found = frozenset(names)
    except TypeError:
        raise ConfigurationError(f"{option} is a collection of names, such as a set of str") from None
    for name in found:
        if not is_known(name):
            raise ConfigurationError(f"{option}: {printable(name)} is {wrong}")
    return found


def _columns(option: str, given: object) -> Columns:
    if isinstance(given, Columns):
        return given
    if not isinstance(given, Mapping):
        listed = _column_names(option, given)
        return Columns(listed, listed)
    with located(option):
        columns = entries(given, known=("read", "write"))
    return Columns(**{kind: _column_names(f"{option}.{kind}", names) for kind, names in columns.items()})


def _column_names(option: str, names: object) -> frozenset[str]:
    listed = several(option, names)
    with located(option):
        for name in listed:
            check_column_name(name)
    return frozenset(listed)


def parsed_rows(option: str, given: Filters) -> Filter:
    """A filter that limits something; errors name the option."""
    try:
        predicate = parse_filters(option, given)
    except ValidationError as error:
        raise ConfigurationError(f"{option}: {'; '.join(error.problems)}") from error
    if predicate is None:
        raise ConfigurationError(f"{option}: the filter selects every row; leave it out if that is meant")
    return predicate


def _filters(table: str, given: object) -> Filter:
    """The filter that a file spells as JSON does; see `filter_json`."""
    with located(table):
        try:
            return filter_json.parse_filters(entries(given))
        except ValidationError as error:
            raise ConfigurationError("; ".join(error.problems)) from None


def _at_least_one(option: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{option} is a positive int, not {value!r}")
    return value

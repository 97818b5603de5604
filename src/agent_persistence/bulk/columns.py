"""Which columns a source fills, under which names, and how its texts become their values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from agent_persistence.bulk.converting import Converter, check_moments, is_of_times
from agent_persistence.bulk.spelling import PLAIN, Spelling, trimmed
from agent_persistence.exceptions import ColumnNotAllowedError, ConfigurationError, ValidationError, printable
from agent_persistence.query.identifiers import are_columns
from agent_persistence.query.records import NULL
from agent_persistence.schema.checks import did_you_mean
from agent_persistence.schema.registry import Column, Generated

Renaming: TypeAlias = Mapping[str, str | None]
Columns: TypeAlias = Sequence[str] | Renaming | None
"""The names of a file without a header, in order; or by a name of the source the column, None to leave it out.

`"*": None` leaves out all that are not named. Of two headings `Phone` the second is named `Phone (2)`, one without a
text `(column 3)`.
"""

REST: Final = "*"
"""In a mapping of columns, mapped to None, all names that it does not hold."""
REJECT_LINE: Final = "reject_line"
REJECT_REASON: Final = "reject_reason"
REJECT_RECORD: Final = "reject_record"
MARKS: Final = (REJECT_LINE, REJECT_REASON, REJECT_RECORD)
"""What a rejects file adds to every record. An import leaves it out, so that a mended file can be imported."""


class CellError(Exception):
    """A text is no value of its column's type."""

    def __init__(self, column: str, reason: str) -> None:
        self.column = column
        super().__init__(f"{column} {reason}")


@dataclass(frozen=True)
class ImportTarget:
    """The table as an import sees it: what is declared of it, and what may be written.

    `declared` is None where the schema is only a guess: then the database alone knows its columns.
    """

    table: str
    columns: Mapping[str, Column]
    is_declared: bool
    writable: frozenset[str] | None

    @cached_property
    def times(self) -> tuple[str, ...]:
        """The columns that hold dates or times."""
        return tuple(name for name, column in self.columns.items() if is_of_times(column.type))

    def moment_in(self, record: Mapping[str, Any]) -> CellError | None:
        """What is wrong with a record that has a text of another value each day for a date or time."""
        for name in self.times:
            try:
                check_moments(record.get(name))
            except ValueError as problem:
                return CellError(name, str(problem))
        return None

    def check_all(self, names: Iterable[str]) -> None:
        """As `check`; where several names are refused, one error names all."""
        refused: list[ValidationError | ColumnNotAllowedError] = []
        for name in names:
            try:
                self.check((name,))
            except (ValidationError, ColumnNotAllowedError) as error:
                refused.append(error)
        if len(refused) == 1:
            raise refused[0]
        if refused:
            problems = [problem for error in refused for problem in _problems(error)]
            raise ValidationError(
                self.table,
                list(dict.fromkeys(problems)),
                f"{self.table} has {', '.join(self.columns)}; columns= names those that are meant",
            )

    def check(self, names: Iterable[str]) -> None:
        """Refuse names that are none of the table's columns, or that the policy does not let be written."""
        named = list(names)
        for name in named:
            if name not in self.columns and not are_columns((name,)):
                raise ColumnNotAllowedError(
                    self.table,
                    name,
                    "names are lower-case letters, digits and _",
                    "columns= renames it or leaves it out",
                )
            if self.is_declared and self.columns and name not in self.columns:
                raise ValidationError(
                    self.table,
                    f"no column {printable(name)}{did_you_mean(name, self.columns)}; {self.table} has"
                    f" {', '.join(self.columns)}",
                    f"columns={{{printable(name)}: None}} leaves it out",
                )
            if self.writable is not None and name not in self.writable:
                allowed = ", ".join(sorted(self.writable)) or "none"
                raise ColumnNotAllowedError(
                    self.table, name, f"the policy does not let it be written; allowed here: {allowed}"
                )


def check_columns(columns: object, *, has_header: bool) -> None:
    """Refuse what is neither a list of names nor a mapping of them."""
    if columns is None:
        return
    if isinstance(columns, Mapping):
        bad = [name for name, to in columns.items() if not (isinstance(name, str) and (to is None or type(to) is str))]
    elif isinstance(columns, Sequence) and not isinstance(columns, (str, bytes)):
        bad = [name for name in columns if type(name) is not str]
        if not has_header:
            raise ConfigurationError("columns is a mapping here, {name in the source: column}: its records have names")
    else:
        raise ConfigurationError(
            "columns is a list of names for a CSV file without a header, or a mapping {name in the source: column},"
            f" not {type(columns).__name__}"
        )
    if bad:
        raise ConfigurationError(f"columns: {printable(bad[0])} is no name, or is mapped to none")


@dataclass(frozen=True, slots=True)
class Shape:
    """How the fields of a CSV record become a record: a name for each, None where it is left out."""

    names: tuple[str | None, ...]
    converters: tuple[tuple[int, Converter], ...]
    overhead: int
    defaults: tuple[tuple[int, Any], ...] = ()
    """What a NULL becomes in a place whose column may not be NULL."""

    @classmethod
    def of(cls, header: Sequence[str], columns: Columns, target: ImportTarget, spelling: Spelling = PLAIN) -> Shape:
        """The shape of records below this header; what is wrong with the header, all of it, is a ValidationError."""
        given = distinct_headings(header) if isinstance(columns, Mapping) else tuple(name.strip() for name in header)
        names = tuple(renamed(name, columns, target) for name in given)
        kept = [name for name in names if name is not None]
        _check_names(given, kept, columns, target)
        target.check_all(kept)
        types = [target.columns[name].type if name in target.columns else "any" for name in kept]
        made = zip(map(names.index, kept), map(spelling.converter, types), strict=True)
        converters = tuple((place, convert) for place, convert in made if convert is not None)
        filled = _defaults(names, target) if spelling.fill_defaults else ()
        return cls(names, converters, sum(len(name) + 6 for name in kept), filled)

    def record(self, fields: list[str | None]) -> dict[str, Any]:
        """The record, with NULL for None; CellError for a text that is no value of its column."""
        values: list[Any] = fields
        for place, convert in self.converters:
            text = values[place]
            if text is not None:
                try:
                    values[place] = convert(text)
                except ValueError as problem:
                    raise CellError(str(self.names[place]), str(problem)) from None
        if None in values:
            for place, default in self.defaults:
                if values[place] is None:
                    values[place] = default
            values = [NULL if value is None else value for value in values]
        record: dict[Any, Any] = dict(zip(self.names, values, strict=True))
        if self.leaves_out:
            record.pop(None)
        return record

    @property
    def leaves_out(self) -> bool:
        return None in self.names


def _defaults(names: Sequence[str | None], target: ImportTarget) -> tuple[tuple[int, Any], ...]:
    """By place the declared default, a value, of a column that may not be NULL."""
    columns = ((place, target.columns.get(name)) for place, name in enumerate(names) if name is not None)
    return tuple((place, column.default) for place, column in columns if column is not None and is_filled(column))


def is_filled(column: Column) -> bool:
    """Whether a NULL of the column can become its default: it may not be NULL, and the default is a value."""
    return not (column.nullable or column.default is None or isinstance(column.default, Generated))


def _problems(error: ValidationError | ColumnNotAllowedError) -> Sequence[str]:
    if isinstance(error, ColumnNotAllowedError):
        return [f"no column {printable(error.column)}"]
    return [problem.partition("; ")[0] for problem in error.problems]


def distinct_headings(header: Sequence[str]) -> tuple[str, ...]:
    """The headings, so that each can be named: the second `Phone` is `Phone (2)`, one without a text `(column 3)`."""
    found: dict[str, int] = {}
    names = []
    for place, heading in enumerate(header, 1):
        name = trimmed(heading) or f"(column {place})"
        found[name] = found.get(name, 0) + 1
        names.append(name if found[name] == 1 else f"{name} ({found[name]})")
    return tuple(names)


def renamed(name: str, columns: Columns, target: ImportTarget) -> str | None:
    """The column for a name of the source, or None where it is left out."""
    if isinstance(columns, Mapping):
        if name in columns:
            return columns[name]
        if columns.get(REST, name) is None:
            return None
    return None if name in MARKS and name not in target.columns else name


def _check_names(header: Sequence[str], kept: Sequence[str], columns: Columns, target: ImportTarget) -> None:
    if not kept:
        raise ValidationError(target.table, "the source has no column that is kept")
    if "" in kept:
        raise ValidationError(target.table, f"column {list(header).index('') + 1} of the header has no name")
    doubled = next((name for name in kept if kept.count(name) > 1), None)
    if doubled is not None:
        raise ValidationError(target.table, f"column {printable(doubled)} is there twice", "columns= renames one")
    if isinstance(columns, Mapping):
        stripped = [name.strip() for name in header]
        unknown = [name for name in columns if name not in stripped and name != REST]
        if unknown:
            raise ValidationError(
                target.table,
                [
                    f"columns renames {printable(name)}, which the header does not have{did_you_mean(name, header)}"
                    for name in unknown
                ],
            )

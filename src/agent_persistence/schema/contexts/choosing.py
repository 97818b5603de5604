"""Which columns of a declared table are its title, its body, its labels and its time, unless somebody says. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from agent_persistence.schema.contexts.naming import singular
from agent_persistence.schema.types import Family, base_name, family
from agent_persistence.schema.values import Column, Generated, Table

_TITLES: Final = (
    "title",
    "subject",
    "name",
    "full_name",
    "display_name",
    "label",
    "headline",
    "summary",
    "username",
    "short_desc",
)
_BODIES: Final = ("body", "content", "text", "message", "comment", "note", "notes", "description")
_LABELS: Final = re.compile(r"(?:^|_)(?:status|state|type|kind|priority|severity|role|stage)$")
_TIMES: Final = ("created_at", "created", "inserted_at", "created_on", "sent_at", "posted_at", "opened_at", "date")
_TIME_TYPES: Final = frozenset({"timestamptz", "timestamp", "timestamp with time zone", "timestamp without time zone"})
_NOT_ITS_OWN: Final = re.compile(r"birth|due|expir|deadline|required|until|(?:^|_)(?:end|ends|last)(?:_|$)")
"""Times that say nothing of how new a row is."""
_CHANGE: Final = re.compile(r"updated|modified|changed")
_SECRET: Final = re.compile(r"passw|(?:^|_)(?:pwd|secret|token|salt|api_key|private_key)(?:_|$)")
_LONG: Final = frozenset({"text", "jsonb", "json", "xml", "bytea", "hstore"})
_UNREADABLE: Final = frozenset({"bytea", "tsvector", "vector", "halfvec", "sparsevec"})
_MOST_LABELS: Final = 4
_FIRST: Final = re.compile(r"^(?:first|given|fore)_?name$")
_LAST: Final = re.compile(r"^(?:last|family|sur)_?name$")


def time_of(table: Table) -> str | None:
    """The column that the database fills with the time of a row, else one whose name says so, else the first time;
    that of a change where there is no other."""
    times = {
        name: column for name, column in table.columns.items() if _is_time(column) and not _NOT_ITS_OWN.search(name)
    }
    made = [name for name, column in times.items() if column.default is Generated.NOW and not _CHANGE.search(name)]
    known = [name for name in _TIMES if name in times]
    created = [name for name in known if name in made]
    first = [name for name in times if not _CHANGE.search(name)]
    return next(iter((*created, *known, *made, *first, *times)), None)


def _is_time(column: Column) -> bool:
    return base_name(column.type) in _TIME_TYPES or column.type == "date"


def title_of(table: str, declared: Table, taken: Collection[str]) -> tuple[str, ...]:
    """The column that names a row for people: a title, a subject, a name; or first and last name together."""
    texts = {name: column for name, column in declared.columns.items() if _is_text(column) and name not in taken}
    single = singular(table)
    first, last = (next(filter(form.match, texts), None) for form in (_FIRST, _LAST))
    if first and last:
        return (first, last)
    wanted = [name for name in (*_TITLES, f"{single}_name", f"{single}_title") if name in texts]
    personal = [name for name, column in texts.items() if column.pii == "name"]
    named = [name for name, column in texts.items() if column.pii is None and name.endswith(("_name", "_title"))]
    return tuple([*wanted, *named, *personal][:1])


def body_of(declared: Table, taken: Collection[str], *, is_leaf: bool) -> str | None:
    """The text that a row is there for, of a table with little else: what others have, all of their columns show."""
    readable = _readable(declared, taken)
    long = [
        name for name in readable if _is_text(declared.columns[name]) and not _is_short(name, declared.columns[name])
    ]
    texts = [name for name in _BODIES if name in readable and _is_text(declared.columns[name])] or long
    if not is_leaf or not texts:
        return None
    others = [column for column in readable if column != texts[0]]
    is_little = len(others) <= _MOST_LABELS and all(_is_short(name, declared.columns[name]) for name in others)
    return texts[0] if is_little else None


def labels_of(declared: Table, taken: Collection[str], *, has_body: bool) -> tuple[str, ...]:
    """Short columns that say of what sort a row is; of one with a body, all that are short."""
    columns = declared.columns
    short = [name for name in _readable(declared, taken) if _is_short(name, columns[name])]
    found = short if has_body else [name for name in short if columns[name].one_of or _LABELS.search(name)]
    return tuple(found[:_MOST_LABELS])


def _readable(declared: Table, taken: Collection[str]) -> list[str]:
    return [name for name in declared.columns if name not in taken and not left_out(declared, name)]


def columns_of(declared: Table, held: Collection[str]) -> tuple[str, ...] | None:
    """The columns without secrets, what no reader can use, and keys of tables that are not in the context; None where
    that is all of them. `held` are the columns that say what belongs together."""
    strange = {name for link in declared.foreign_keys for name in link.columns} - set(held)
    kept = tuple(name for name in declared.columns if name not in strange and not left_out(declared, name))
    return None if len(kept) == len(declared.columns) else kept


def left_out(declared: Table, name: str) -> bool:
    """Whether a column holds a password or the like, or bytes and vectors, which say nothing to a reader."""
    column = declared.columns[name]
    kind = base_name(column.type).rpartition(".")[2]
    return kind in _UNREADABLE or any(_SECRET.search(name) for name in (name.lower(), (column.pii or "").lower()))


def _is_text(column: Column) -> bool:
    return family(column.type) is Family.TEXT


def _is_short(name: str, column: Column) -> bool:
    if family(column.type) in (Family.JSON, Family.ARRAY):
        return False
    return bool(column.one_of or column.pii or _LABELS.search(name)) or base_name(column.type) not in _LONG

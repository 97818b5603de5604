"""The action of each column: as it was given, checked, or after what a schema says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.redaction import actions
from agent_persistence.redaction.actions import Action, allow, drop, pseudonymize, redact, scan
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.types import Family, family
from agent_persistence.schema.values import Column

_KINDS: Final = {"name": "person"}
"""Kinds for tags of a schema that say the same in another word."""
_NO_KIND: Final = re.compile(r"[^a-z0-9]+")
_ADDRESSES: Final = frozenset({"inet", "cidr"})
_TELLING_NOTHING: Final = frozenset({Family.NUMBER, Family.BOOLEAN, Family.OTHER_SCALAR})
_CONSTRUCTORS: Final = ("allow", "drop", "redact", "mask", "pseudonymize", "generalize", "scan")


def checked(columns: object) -> Mapping[str, Mapping[str, Action]]:
    """The actions by table and column, copied and frozen; a ConfigurationError says what cannot be one."""
    if not isinstance(columns, Mapping):
        raise ConfigurationError(f"columns is a mapping of table to column to action, not {type(columns).__name__}")
    made = {}
    for table, given in columns.items():
        if not is_identifier(table):
            raise ConfigurationError(f"columns: {printable(table)} is no name of a table")
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"columns: {table} is a mapping of column to action, not {type(given).__name__}")
        for column, action in given.items():
            if type(column) is not str or not column:
                raise ConfigurationError(f"columns: {table}: {printable(column)} is no name of a column")
            check_action(f"columns: {table}.{printable(column)}", action)
        made[table] = MappingProxyType(dict(given))
    return MappingProxyType(made)


def check_action(place: str, action: object) -> None:
    """Refuse what is no action, and say how to write the one that was meant."""
    if isinstance(action, Action):
        return
    name = action if isinstance(action, str) else getattr(action, "__name__", None)
    if name in _CONSTRUCTORS and (isinstance(action, str) or action is getattr(actions, str(name))):
        raise ConfigurationError(f"{place}: write {name}(), which is an action; {printable(name)} is none")
    raise ConfigurationError(
        f"{place}: {printable(action)} is no action; actions are {', '.join(f'{name}()' for name in _CONSTRUCTORS)}"
    )


def from_schema(schema: Schema, *, pseudonymous: bool) -> dict[str, dict[str, Action]]:
    """For each declared column, an action after its tag and its type."""
    return {
        name: {column: _of(declared, pseudonymous) for column, declared in table.columns.items()}
        for name, table in schema.tables.items()
    }


def _of(column: Column, pseudonymous: bool) -> Action:
    kind = "ip" if column.pii is None and column.type in _ADDRESSES else _kind(column.pii)
    if kind:
        return pseudonymize(kind) if pseudonymous else redact(kind)
    if column.type == "bytea":
        return drop()
    return allow() if column.one_of or family(column.type) in _TELLING_NOTHING else scan()


def _kind(tag: str | None) -> str | None:
    if tag is None:
        return None
    plain = _NO_KIND.sub("_", tag.lower()).strip("_")[:32]
    return _KINDS.get(plain, plain if plain[:1].isalpha() else actions.VALUE)

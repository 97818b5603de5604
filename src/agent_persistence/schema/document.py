"""Tables as plain mappings, which is what files hold, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.schema.checks import entries, items, located
from agent_persistence.schema.values import Column, ForeignKey, Generated, Table

_GENERATED: Final = {default.name.lower(): default for default in Generated}
_TABLE_KEYS: Final = ("columns", "primary_key", "unique", "paths", "foreign_keys", "read_only")
_LINK_KEYS: Final = ("column", "table", "references", "on_delete_cascade")
_COLUMN_KEYS: Final = ("type", "nullable", "default", "default_json", "generated", "one_of", "pii")
_DEFAULTS: Final = frozenset({"default", "default_json", "generated"})


def table(document: object) -> Table:
    """The table that the mapping describes."""
    given = entries(document, known=_TABLE_KEYS, needed=("columns",))
    with located("columns"):
        given["columns"] = entries(given["columns"])
    columns = {name: _column(name, column) for name, column in given["columns"].items()}
    with located("foreign_keys"):
        links = [_foreign_key(link) for link in items(given.get("foreign_keys", []))]
    return Table(**given | {"columns": columns, "foreign_keys": links})


def _foreign_key(document: object) -> ForeignKey:
    return ForeignKey(**entries(document, known=_LINK_KEYS, needed=("column", "table")))


def _column(name: str, document: object) -> Column:
    with located(f"columns.{name}"):
        if isinstance(document, str):
            return Column(document)
        given = entries(document, known=_COLUMN_KEYS, needed=("type",))
        ways = sorted(_DEFAULTS & given.keys())
        if len(ways) > 1:
            raise ConfigurationError(f"{' and '.join(ways)} both say what the default is; keep one of them")
        return Column(**{key: value for key, value in given.items() if key not in _DEFAULTS}, default=_default(given))


def _default(given: Mapping[str, Any]) -> Any:
    if "generated" in given:
        name = given["generated"]
        if not isinstance(name, str) or name not in _GENERATED:
            raise ConfigurationError(f"generated is one of {', '.join(_GENERATED)}, not {printable(name)}")
        return _GENERATED[name]
    if "default_json" not in given:
        return given.get("default")
    try:
        return json.loads(given["default_json"])
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"default_json is no JSON text: {error}") from error


def to_document(table: Table) -> dict[str, Any]:
    """The mapping from which `table` makes an equal table."""
    document: dict[str, Any] = {"primary_key": list(table.primary_key)}
    if table.unique:
        document["unique"] = [list(names) for names in table.unique]
    if table.paths:
        document["paths"] = list(table.paths)
    if table.read_only:
        document["read_only"] = True
    document["columns"] = {name: _column_document(column) for name, column in table.columns.items()}
    if table.foreign_keys:
        document["foreign_keys"] = [_link_document(link) for link in table.foreign_keys]
    return document


def _link_document(link: ForeignKey) -> dict[str, Any]:
    document = {key: getattr(link, key) for key in _LINK_KEYS}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}


def _column_document(column: Column) -> str | dict[str, Any]:
    document: dict[str, Any] = {"type": column.type}
    if not column.nullable:
        document["nullable"] = False
    if isinstance(column.default, Generated):
        document["generated"] = column.default.name.lower()
    elif column.default is not None:
        document["default"] = column.default
    if column.one_of:
        document["one_of"] = list(column.one_of)
    if column.pii is not None:
        document["pii"] = column.pii
    return document if len(document) > 1 else column.type

"""Tables as PostgREST's OpenAPI root describes them (PostgREST, src/PostgREST/Response/OpenAPI.hs)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier, is_path
from agent_persistence.schema.checks import entries, located, words
from agent_persistence.schema.types import short_name

_FOREIGN_KEY: Final = re.compile(r"<fk table='([^']+)' column='([^']+)'/>")
_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
_FORMATS: Final = {"int32": "integer", "int64": "bigint"}
"""PostgREST since 14.8 (its #4641); int32 stands for smallint too, which cannot be distinguished from integer."""


def tables(document: object) -> dict[str, Any]:
    """The tables and views of the document."""
    definitions = entries(document).get("definitions")
    if definitions is None:
        raise ConfigurationError(
            "the OpenAPI document has no definitions; hosted Supabase tells them to a secret key only"
        )
    found: dict[str, Any] = {}
    for name, definition in entries(definitions).items():
        with located(f"definitions.{name if is_identifier(name) else printable(name)}"):
            found[name] = _table(entries(definition)) | {"read_only": _is_read_only(document, name)}
    return found


def _is_read_only(document: Any, name: str) -> bool:
    """Whether the table can only be read: one that takes any write has all the methods (makePathItem)."""
    methods = (document.get("paths") or {}).get(f"/{name}")
    return isinstance(methods, Mapping) and "get" in methods and not methods.keys() & {"post", "patch", "delete"}


def _table(definition: Mapping[str, Any]) -> dict[str, Any]:
    properties = {name: entries(field) for name, field in entries(definition.get("properties", {})).items()}
    properties = {name: field for name, field in properties.items() if not is_path(name)}
    required = words("required", definition.get("required", ()))
    key = [name for name, field in properties.items() if "<pk/>" in _description(field)]
    columns = {name: _column(field, nullable=name not in required) for name, field in properties.items()}
    links = [link for name, field in properties.items() for link in _foreign_keys(name, field)]
    if len(key) == 1 and _is_bare_integer(columns[key[0]]) and key[0] not in [link["column"] for link in links]:
        columns[key[0]]["generated"] = "identity"
    return {"columns": columns, "primary_key": key, "foreign_keys": links}


def _is_bare_integer(column: Mapping[str, Any]) -> bool:
    """An identity, most likely: PostgREST leaves out the `nextval(…)` of a number."""
    return column["type"] in _INTEGERS and "default" not in column and "generated" not in column


def _column(field: Mapping[str, Any], *, nullable: bool) -> dict[str, Any]:
    column = {"type": _type(field), "nullable": nullable}
    if isinstance(field.get("enum"), Sequence):
        column["one_of"] = field["enum"]
    return column | default_of(field.get("default"))


def _type(field: Mapping[str, Any]) -> Any:
    form, length = field.get("format") or field.get("type") or "any", field.get("maxLength")
    if length is not None:
        return f"{form}({length})"
    return short_name(_FORMATS.get(form, form)) if isinstance(form, str) else form


_GENERATED: Final = (
    (re.compile(r"(\w+\.)?(gen_random_uuid|uuid_generate_v4)\(\)"), "uuid"),
    (re.compile(r"now\(\)|CURRENT_TIMESTAMP|transaction_timestamp\(\)|timezone\('utc'::text, now\(\)\)"), "now"),
    (re.compile(r"nextval\(.*\)"), "identity"),
)
_CONSTANT: Final = re.compile(r"'((?:[^']|'')*)'::[\w .\"]+")
_EXPRESSION: Final = re.compile(r"[\w.]+\(.*\)|CURRENT_\w+|LOCALTIME\w*|NULL(::.*)?|\(.*\).*", re.DOTALL)


def default_of(default: Any) -> dict[str, Any]:
    """What the column's default is; an expression that this package cannot compute is none."""
    if not isinstance(default, str):
        return {} if default is None else {"default": default}
    for pattern, name in _GENERATED:
        if pattern.fullmatch(default):
            return {"generated": name}
    quoted = _CONSTANT.fullmatch(default)
    if quoted is None and _EXPRESSION.fullmatch(default):
        return {}
    return {"default": (quoted[1] if quoted else default).replace("''", "'")}


def _foreign_keys(column: str, field: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = _FOREIGN_KEY.search(_description(field))
    if found is None:
        return []
    return [{"column": column, "table": found[1], "references": found[2]}]


def _description(field: Mapping[str, Any]) -> str:
    return str(field.get("description") or "")

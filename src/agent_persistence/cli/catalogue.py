"""A schema as PostgreSQL's catalogues tell it: columns, keys, relations, defaults, and values that a check lists."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agent_persistence.cli.database import Database, Found
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.schema import openapi
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.types import Family, family, short_name

_COLUMNS: Final = """
select relname as "table", attname as name, format_type(atttypid, atttypmod) as type, attnotnull as required,
  attidentity <> '' as is_identity, pg_get_expr(adbin, adrelid) as expression, attgenerated <> '' as is_computed,
  (select array_agg(enumlabel::text order by enumsortorder) from pg_enum where enumtypid = atttypid) as labels
from pg_attribute join pg_class on pg_class.oid = attrelid
left join pg_attrdef on adrelid = attrelid and adnum = attnum
where relnamespace = (select oid from pg_namespace where nspname = $1) and relkind in ('r', 'p', 'v', 'm', 'f')
  and not relispartition and attnum > 0 and not attisdropped
order by relname, attnum"""

_CONSTRAINTS: Final = """
select owner.relname as "table", contype::text as kind, confdeltype = 'c' as cascades, target.relname as target,
  pg_get_constraintdef(pg_constraint.oid) as told,
  array(select attname::text from unnest(conkey) with ordinality as k(number, place)
    join pg_attribute on attrelid = conrelid and attnum = k.number order by place) as columns,
  array(select attname::text from unnest(confkey) with ordinality as k(number, place)
    join pg_attribute on attrelid = confrelid and attnum = k.number order by place) as targets
from pg_constraint join pg_class owner on owner.oid = conrelid
left join pg_class target on target.oid = confrelid and target.relnamespace = owner.relnamespace
where owner.relnamespace = (select oid from pg_namespace where nspname = $1) and contype in ('p', 'u', 'f', 'c')
order by owner.relname, conkey, conname"""

_LISTED: Final = re.compile(r"CHECK \(\(+\"?(\w+)\"?(?:\)?::text)? = ANY \(+ARRAY\[(.*?)\](?:\)?::text\[\])?\)+")
_TEXT: Final = re.compile(r"'((?:[^']|'')*)'::(?:text|character varying)")


async def pulled_schema(database: Database, db_schema: str = "public") -> Schema:
    """The tables and views of the database schema whose names this package can ask for."""
    columns = await database.rows(_COLUMNS, db_schema)
    constraints = await database.rows(_CONSTRAINTS, db_schema)
    return Schema.from_document({"tables": tables(columns, constraints)})


def tables(columns: Found, constraints: Found) -> dict[str, Any]:
    """The tables as a document of `Schema.from_document`."""
    of: defaultdict[str, Found] = defaultdict(list)
    for constraint in constraints:
        of[constraint["table"]].append(constraint)
    told: dict[str, Any] = {}
    for column in columns:
        name = column["table"]
        if is_identifier(name):
            table = told.setdefault(name, {"columns": {}, **_keys(of[name])})
            table["columns"][column["name"]] = _column(column, _listed(of[name]).get(column["name"]))
    return told


def _keys(constraints: Found) -> dict[str, Any]:
    return {
        "primary_key": next((each["columns"] for each in constraints if each["kind"] == "p"), []),
        "unique": [each["columns"] for each in constraints if each["kind"] == "u"],
        "foreign_keys": [
            {
                "column": each["columns"][0],
                "table": each["target"],
                "references": each["targets"][0],
                "on_delete_cascade": each["cascades"],
            }
            for each in constraints
            if each["kind"] == "f" and len(each["columns"]) == 1 and is_identifier(each["target"])
        ],
    }


def _listed(constraints: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By column, the texts that a check of the form `column in ('a', 'b')` allows."""
    found = (_LISTED.match(each["told"]) for each in constraints if each["kind"] == "c")
    return {match[1]: [text.replace("''", "'") for text in _TEXT.findall(match[2])] for match in found if match}


def _column(told: Mapping[str, Any], listed: list[str] | None) -> dict[str, Any]:
    column: dict[str, Any] = {"type": short_name(told["type"]), "nullable": not told["required"]}
    if told["labels"] or listed:
        column["one_of"] = told["labels"] or listed
    if told["is_identity"]:
        return column | {"generated": "identity"}
    if told["is_computed"] or told["expression"] is None:
        return column
    return column | _default(told["expression"], family(told["type"]))


def _default(expression: str, of: Family) -> dict[str, Any]:
    """What the default is, as JSON of the column's family; an expression that this package cannot compute is none."""
    default = openapi.default_of(expression.removesuffix("[]") if of is Family.ARRAY else expression)
    value = default.get("default")
    if not isinstance(value, str):
        return default
    if of is Family.ARRAY:
        return {"default": []} if value == "{}" else {}
    if of in (Family.JSON, Family.NUMBER, Family.BOOLEAN):
        try:
            parsed = json.loads(value)
        except ValueError:
            return {}
        return {"default_json": value} if of is Family.JSON else {"default": parsed}
    return default

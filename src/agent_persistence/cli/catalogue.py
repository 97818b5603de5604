"""A schema as PostgreSQL's catalogues have it: columns, keys, relations, defaults, and values that a check lists."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agent_persistence.cli.database import Database, Found
from agent_persistence.query.identifiers import is_path
from agent_persistence.schema import openapi
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.types import Family, family, short_name

_COLUMNS: Final = """
with recursive based as (
  select oid as named, oid as base, -1 as modifier, false as required, null::text collate "C" as expression, 0 as depth
  from pg_type
  union all
  select named, typbasetype, typtypmod, required or typnotnull, coalesce(expression, typdefault), depth + 1
  from based join pg_type on pg_type.oid = base where typtype = 'd'
), types as (select distinct on (named) * from based order by named, depth desc)
select relname as "table", attname as name, relkind in ('v', 'm', 'f') and pg_relation_is_updatable(pg_class.oid, true)
    & 28 = 0 or relkind = 'm' as is_read_only,
  format_type(base, case when base = atttypid then atttypmod else modifier end) as type,
  attnotnull or types.required as required, attidentity <> '' as is_identity,
  coalesce(pg_get_expr(adbin, adrelid), types.expression) as expression, attgenerated <> '' as is_computed,
  (select array_agg(enumlabel::text order by enumsortorder) from pg_enum where enumtypid = base) as labels,
  (select array_agg(pg_get_constraintdef(pg_constraint.oid)) from pg_constraint
    where contypid in (select other.base from based other where named = atttypid)) as checks
from pg_attribute join pg_class on pg_class.oid = attrelid join types on named = atttypid
left join pg_attrdef on adrelid = attrelid and adnum = attnum
where relnamespace = (select oid from pg_namespace where nspname = $1) and relkind in ('r', 'p', 'v', 'm', 'f')
  and not relispartition and attnum > 0 and not attisdropped
order by relname, attnum"""

_CONSTRAINTS: Final = """
select owner.relname as "table", contype::text as kind, confdeltype = 'c' as cascades, target.relname as target,
  pg_get_constraintdef(pg_constraint.oid) as definition,
  array(select attname::text from unnest(conkey) with ordinality as k(number, place)
    join pg_attribute on attrelid = conrelid and attnum = k.number order by place) as columns,
  array(select attname::text from unnest(confkey) with ordinality as k(number, place)
    join pg_attribute on attrelid = confrelid and attnum = k.number order by place) as targets
from pg_constraint join pg_class owner on owner.oid = conrelid
left join pg_class target on target.oid = confrelid and target.relnamespace = owner.relnamespace
where owner.relnamespace = (select oid from pg_namespace where nspname = $1) and contype in ('p', 'f', 'c')
order by owner.relname, conkey, conname"""

_UNIQUE: Final = """
select relname as "table", array(select attname::text from unnest(indkey::int2[]) with ordinality as k(number, place)
    join pg_attribute on attrelid = indrelid and attnum = k.number where place <= indnkeyatts order by place) as columns
from pg_index join pg_class on pg_class.oid = indrelid
where relnamespace = (select oid from pg_namespace where nspname = $1) and indisunique and not indisprimary
  and indimmediate and indisvalid and indpred is null and indexprs is null
order by relname, indkey::int2[], indexrelid"""
"""What ON CONFLICT can name: an index does, whether a constraint made it or not."""

_LISTED: Final = re.compile(
    r"CHECK \(\(+(?:\"((?:[^\"]|\"\")+)\"|(\w+))(?:\)?::text)? = ANY \(+ARRAY\[(.*?)\](?:\)?::text\[\])?\)+"
)
_TEXT: Final = re.compile(r"'((?:[^']|'')*)'::(?:text|character varying)")


async def pulled_schema(database: Database, db_schema: str = "public") -> Schema:
    """The tables and views of the database schema; a column whose name has the form of a path is left out."""
    columns = await database.rows(_COLUMNS, db_schema)
    constraints = await database.rows(_CONSTRAINTS, db_schema)
    unique = await database.rows(_UNIQUE, db_schema)
    return Schema.from_document({"tables": tables(columns, constraints, unique)})


def tables(columns: Found, constraints: Found, unique: Found) -> dict[str, Any]:
    """The tables as a document of `Schema.from_document`."""
    of, sets = _by_table(constraints), _by_table(unique)
    found: dict[str, Any] = {}
    for column in columns:
        name = column["table"]
        table = found.setdefault(
            name, {"columns": {}, **_keys(of[name], sets[name]), "read_only": column["is_read_only"]}
        )
        if not is_path(column["name"]):
            table["columns"][column["name"]] = _column(column, _listed(of[name]).get(column["name"]))
    return found


def _by_table(found: Found) -> defaultdict[str, Found]:
    of: defaultdict[str, Found] = defaultdict(list)
    for each in found:
        of[each["table"]].append(each)
    return of


def _keys(constraints: Found, unique: Found) -> dict[str, Any]:
    return {
        "primary_key": next((each["columns"] for each in constraints if each["kind"] == "p"), []),
        "unique": [each["columns"] for each in unique],
        "foreign_keys": [
            {
                "column": each["columns"],
                "table": each["target"],
                "references": each["targets"],
                "on_delete_cascade": each["cascades"],
            }
            for each in constraints
            if each["kind"] == "f" and each["target"]
        ],
    }


def _listed(constraints: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By column, the texts that a check of the form `column in ('a', 'b')` allows."""
    found = (_LISTED.match(each["definition"]) for each in constraints if each["kind"] == "c")
    return {(match[1] or match[2]).replace('""', '"'): _texts(match[3]) for match in found if match}


def _texts(listed: str) -> list[str]:
    return [text.replace("''", "'") for text in _TEXT.findall(listed)]


def _listed_by_domain(row: Mapping[str, Any]) -> list[str] | None:
    """The texts that a check of the column's domain allows."""
    found = (_LISTED.match(check) for check in row["checks"] or ())
    return next((_texts(match[3]) for match in found if match and match[2] == "VALUE"), None)


def _column(row: Mapping[str, Any], listed: list[str] | None) -> dict[str, Any]:
    column: dict[str, Any] = {"type": short_name(row["type"]), "nullable": not row["required"]}
    one_of = row["labels"] or listed or _listed_by_domain(row)
    if one_of:
        column["one_of"] = one_of
    if row["is_identity"]:
        return column | {"generated": "identity"}
    if row["is_computed"] or row["expression"] is None:
        return column
    return column | _default(row["expression"], family(row["type"]))


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

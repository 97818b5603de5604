"""PostgreSQL's types as far as a value can be known to be none of one, without asking the server."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Any, Final


class Family(Enum):
    """Types that take the same JSON values and know the same operators."""

    NUMBER = "smallint integer bigint int int2 int4 int8 numeric decimal real double·precision float float4 float8 oid"
    BOOLEAN = "boolean bool"
    TEXT = "text varchar character·varying character char bpchar citext"
    OTHER_SCALAR = (
        "uuid bytea date interval time timetz timestamp timestamptz time·with·time·zone time·without·time·zone"
        " timestamp·with·time·zone timestamp·without·time·zone"
    )
    RANGE = (
        "int4range int8range numrange tsrange tstzrange daterange"
        " int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange"
    )
    ARRAY = ""
    JSON = "json jsonb"
    UNKNOWN = "any"
    """Whatever is not listed, such as enums and extensions' types: nothing is known about its values."""


_FAMILIES: Final = {name.replace("·", " "): family for family in Family for name in family.value.split()}
_OTHER_BUILT_IN: Final = """
    "char" bit bit·varying varbit cidr inet macaddr macaddr8 money name national·character national·character·varying
    nchar interval json jsonb xml jsonpath oid oidvector int2vector xid xid8 cid tid pg_lsn pg_snapshot txid_snapshot
    box circle line lseg path point polygon tsvector tsquery gtsvector refcursor aclitem regclass regcollation regconfig
    regdatabase regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype pg_node_tree
    pg_ndistinct pg_dependencies pg_mcv_list pg_brin_bloom_summary pg_brin_minmax_multi_summary
"""
BUILT_IN: Final = (_FAMILIES.keys() - {"any", "citext"}) | {name.replace("·", " ") for name in _OTHER_BUILT_IN.split()}
"""PostgreSQL's own types; the test of the in-memory adapter's types compares them with pg_type."""
_REFUSED: Final[dict[Family, frozenset[type]]] = {
    Family.NUMBER: frozenset({bool, list, dict}),
    Family.BOOLEAN: frozenset({list, dict}),
    Family.TEXT: frozenset(),
    Family.OTHER_SCALAR: frozenset({bool, list, dict}),
    Family.RANGE: frozenset({bool, int, float, list, dict}),
    Family.ARRAY: frozenset({bool, int, float, dict}),
    Family.JSON: frozenset(),
    Family.UNKNOWN: frozenset(),
}
_SHORT: Final = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time with time zone": "timetz",
    "time without time zone": "time",
}


@lru_cache(maxsize=1024)
def family(type_name: str) -> Family:
    """The family of a type, whatever its modifiers: `numeric(12,2)` is a number, `text[]` and `_text` are arrays."""
    plain = re.sub(r"\s*\([^)]*\)", "", type_name).strip().lower()
    if plain.endswith("]") or plain.startswith("_"):
        return Family.ARRAY
    return _FAMILIES.get(plain, Family.UNKNOWN)


def base_name(type_name: str) -> str:
    """The name without its schema, modifiers, dimensions and fields: `numeric` for `pg_catalog.numeric(12,2)[]`."""
    plain = re.sub(r"\s*(\([^)]*\)|\[\d*\])", "", type_name).lower().removeprefix("pg_catalog.").removeprefix("_")
    words = plain.split()
    return "interval" if words[:1] == ["interval"] else " ".join(words)


def takes(type_name: str, value: Any) -> bool:
    """Whether PostgreSQL might accept the JSON value for the type. Text passes everywhere: the server reads it."""
    return type(value) not in _REFUSED[family(type_name)]


def short_name(type_name: str) -> str:
    """The name as the rest of this package writes it: `timestamptz` for `timestamp with time zone`."""
    return _SHORT.get(type_name, type_name)

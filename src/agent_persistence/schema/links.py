"""The ways between tables, by the foreign keys that the schema declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.query.filters import Filters, parse_filters, parse_some_rows
from agent_persistence.query.predicates import Exists, Filter, RowLink, map_existence
from agent_persistence.schema.registry import Schema


def link(schema: Schema, table: str, target: object, via: object, many: object, *, option: str) -> RowLink:
    """The one way between the tables, by the foreign key of `via` and in the direction of `many` where given.

    ValidationError, which names the `option`, where the schema declares none, or several of which none is named.
    """
    declared = dict(_links(schema, table))
    ways = declared.get(target, []) if isinstance(target, str) else []
    found = [way for way in ways if via in (None, way.via) and many in (None, way.many)]
    if len(found) == 1:
        return found[0]
    if found:
        several = "; ".join(f"via {way.via!r}, many {way.many}" for way in found)
        raise ValidationError(table, f"{option}: several ways lead to {printable(target)}; say which: {several}")
    if ways:
        raise ValidationError(
            table,
            f"{option}: no foreign key {printable(via)} leads to {printable(target)}; there are"
            f" {', '.join(sorted({way.via for way in ways}))}",
        )
    known = ", ".join(sorted(declared)) or "none"
    raise ValidationError(
        table,
        f"{option}: no foreign key is declared between it and {printable(target)}; related tables are {known}",
        "where the rows are to have another name than their table, say table=; declare foreign keys in the Schema",
    )


def _links(schema: Schema, table: str) -> Iterator[tuple[str, list[RowLink]]]:
    """Every way from the table, by the table that it leads to."""
    found: dict[str, list[RowLink]] = {}
    for key in schema.tables[table].foreign_keys if table in schema.tables else ():
        found.setdefault(key.table, []).append(RowLink(key.column, key.references, False, key.column))
    for name, other in schema.tables.items():
        for key in other.foreign_keys:
            if key.table == table:
                found.setdefault(name, []).append(RowLink(key.references, key.column, True, key.column))
    yield from found.items()


def linked(schema: Schema, table: str, predicate: Filter) -> Filter:
    """The filter with the foreign key chosen by which each condition on related rows finds them, at any depth."""

    def chosen(exists: Exists) -> Exists:
        way = exists.link or link(schema, table, exists.table, exists.via, exists.many, option="exists")
        return replace(exists, term=linked(schema, exists.table, exists.term), link=way)

    return map_existence(predicate, chosen)


def linked_filters(schema: Schema, table: str, filters: Filters | None, *, in_unit: bool = False) -> Filter | None:
    """What `parse_filters` makes of the filter, linked."""
    predicate = parse_filters(table, filters, in_unit=in_unit)
    return predicate if predicate is None or type(table) is not str else linked(schema, table, predicate)


def linked_rows(schema: Schema, table: str, filters: Filters, *, in_unit: bool = False) -> Filter:
    """What `parse_some_rows` makes of the filter, linked."""
    predicate = parse_some_rows(table, filters, in_unit=in_unit)
    return predicate if type(table) is not str else linked(schema, table, predicate)

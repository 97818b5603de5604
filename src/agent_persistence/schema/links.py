"""The ways between tables, by the foreign keys that the schema declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.query.filters import Filters, parse_filters, parse_some_rows
from agent_persistence.query.predicates import Exists, Filter, RowLink, map_existence
from agent_persistence.schema.registry import Schema, Table


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
    if target in _by_several(schema, table) or table in _by_several(schema, target):
        raise ValidationError(
            table, f"{option}: the foreign key between it and {printable(target)} has several columns; query them apart"
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
    for target, column, references in _single(schema.tables.get(table)):
        found.setdefault(target, []).append(RowLink(column, references, False, column))
    for name, other in schema.tables.items():
        for target, column, references in _single(other):
            if target == table:
                found.setdefault(name, []).append(RowLink(references, column, True, column))
    yield from found.items()


def _single(declared: Table | None) -> Iterator[tuple[str, str, str]]:
    """The foreign keys of one column: the table that each leads to, its column and the one that it refers to."""
    for key in declared.foreign_keys if declared else ():
        if len(key.columns) == 1:
            yield key.table, key.columns[0], key.targets[0]


def _by_several(schema: Schema, table: object) -> set[str]:
    """The tables that foreign keys of several columns lead to."""
    declared = schema.tables.get(table) if isinstance(table, str) else None
    return {key.table for key in declared.foreign_keys if len(key.columns) > 1} if declared else set()


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

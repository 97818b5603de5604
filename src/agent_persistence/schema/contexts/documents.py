"""Contexts as plain mappings, which is what files hold, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.schema import files
from agent_persistence.schema.checks import entries, located
from agent_persistence.schema.contexts.entity import Entity, Parent
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable, Relation

_TOP: Final = ("name", "root", "entities")
_LISTS: Final = ("title", "labels", "columns", "key")
_PLAIN: Final = ("body", "time", "tag", "prefix", "limit", "needs_parent", "in_time_order", "link")
_ENTITY: Final = ("parent", "title", "labels", "body", "columns", "key", "time", *_PLAIN[2:], "half_life_days")
_PARENT: Final = ("columns", "table", "references", "shown_as")


def read(document: object) -> dict[str, Any]:
    """The arguments of a ContextSpec."""
    fields = entries(document, known=_TOP, needed=("entities",))
    with located("entities"):
        fields["entities"] = [_entity(table, given) for table, given in entries(fields["entities"]).items()]
    return fields


def _entity(table: str, given: object) -> Entity:
    with located(table):
        fields = entries(given, known=_ENTITY)
        if "half_life_days" in fields:
            fields["half_life"] = _days(fields.pop("half_life_days"))
        if isinstance(fields.get("parent"), list):
            fields["parent"] = [_parent(parent) for parent in fields["parent"]]
    return Entity(table, **fields)


def _parent(given: object) -> Parent:
    return Parent(**entries(given, known=_PARENT, needed=("columns", "table")))


def _days(given: object) -> timedelta:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < 1e6:
        raise ConfigurationError(f"half_life_days is a number above zero, not {printable(given)}")
    return timedelta(days=given)


def written(entities: Sequence[Entity], roots: Sequence[str] | None, name: str) -> dict[str, Any]:
    """The mapping that `read` takes apart."""
    document: dict[str, Any] = {"name": name}
    if roots is not None:
        document["root"] = list(roots)
    document["entities"] = {entity.table: dict(_written(entity)) for entity in entities}
    return document


def _written(entity: Entity) -> Iterator[tuple[str, Any]]:
    if entity.parents is not None:
        yield "parent", _parents(entity.parents)
    for option in _ENTITY[1:-1]:
        value = getattr(entity, option)
        if value is not None:
            is_short = option in _LISTS and len(value) == 1
            yield option, value[0] if is_short else list(value) if option in _LISTS else value
    if entity.half_life is not None:
        days = entity.half_life / timedelta(days=1)
        yield "half_life_days", int(days) if days.is_integer() else days


def _parents(parents: Sequence[Parent]) -> Any:
    if all(len(one.columns) == 1 and one.references is None and one.shown_as is None for one in parents):
        return {one.columns[0]: one.table for one in parents}
    return [_explicit_parent(parent) for parent in parents]


def _explicit_parent(parent: Parent) -> dict[str, Any]:
    entry: dict[str, Any] = {"columns": list(parent.columns), "table": parent.table}
    if parent.references is not None:
        entry["references"] = list(parent.references)
    return entry if parent.shown_as is None else entry | {"shown_as": parent.shown_as}


def to_toml(document: Mapping[str, Any]) -> str:
    """The document as TOML, a table for each entity."""
    lines = list(files.pairs({key: value for key, value in document.items() if key != "entities"}))
    for table, entity in document["entities"].items():
        lines += ["", f"[entities.{files.key_text(table)}]", *files.pairs(entity)]
    return "\n".join([*lines, ""])


def explicit(shape: ContextShape, order: Sequence[str]) -> list[Entity]:
    """The entities, in this order, that mean the shape whatever the schema."""
    return [_explicit(shape.tables[table], shape) for table in order]


def _explicit(table: ContextTable, shape: ContextShape) -> Entity:
    return Entity(
        table.table,
        parent=[_short(relation, shape) for relation in (*table.parents, *table.threads)],
        title=table.title or None,
        labels=[column for column, _ in table.labels] or None,
        body=table.body,
        columns=table.columns,
        key=None if table.key == ("id",) else table.key,
        time=table.time,
        tag=table.tag,
        prefix=table.prefix,
        limit=table.limit,
        half_life=table.half_life,
        needs_parent=table.needs_parent if table.parents else None,
        in_time_order=table.in_time_order if table.parents else None,
        link=table.link or None,
    )


def _short(relation: Relation, shape: ContextShape) -> Parent:
    """The relation without what goes without saying."""
    is_key = relation.references == shape.tables[relation.parent].key
    return Parent(relation.columns, relation.parent, references=None if is_key else relation.references)

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
_PARENT: Final = ("columns", "table", "references", "told_as")


def read(document: object) -> dict[str, Any]:
    """The arguments of a ContextSpec."""
    told = entries(document, known=_TOP, needed=("entities",))
    with located("entities"):
        told["entities"] = [_entity(table, given) for table, given in entries(told["entities"]).items()]
    return told


def _entity(table: str, given: object) -> Entity:
    with located(table):
        told = entries(given, known=_ENTITY)
        if "half_life_days" in told:
            told["half_life"] = _days(told.pop("half_life_days"))
        if isinstance(told.get("parent"), list):
            told["parent"] = [_parent(parent) for parent in told["parent"]]
    return Entity(table, **told)


def _parent(given: object) -> Parent:
    return Parent(**entries(given, known=_PARENT, needed=("columns", "table")))


def _days(given: object) -> timedelta:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < 1e6:
        raise ConfigurationError(f"half_life_days is a number above zero, not {printable(given)}")
    return timedelta(days=given)


def written(entities: Sequence[Entity], roots: Sequence[str] | None, name: str) -> dict[str, Any]:
    """The mapping that `read` takes apart."""
    told: dict[str, Any] = {"name": name}
    if roots is not None:
        told["root"] = list(roots)
    told["entities"] = {entity.table: dict(_written(entity)) for entity in entities}
    return told


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
    if all(len(one.columns) == 1 and one.references is None and one.told_as is None for one in parents):
        return {one.columns[0]: one.table for one in parents}
    return [_told(parent) for parent in parents]


def _told(parent: Parent) -> dict[str, Any]:
    told: dict[str, Any] = {"columns": list(parent.columns), "table": parent.table}
    if parent.references is not None:
        told["references"] = list(parent.references)
    return told if parent.told_as is None else told | {"told_as": parent.told_as}


def to_toml(document: Mapping[str, Any]) -> str:
    """The document as TOML, a table for each entity."""
    lines = list(files.pairs({key: value for key, value in document.items() if key != "entities"}))
    for table, told in document["entities"].items():
        lines += ["", f"[entities.{files.key_text(table)}]", *files.pairs(told)]
    return "\n".join([*lines, ""])


def explicit(shape: ContextShape, order: Sequence[str]) -> list[Entity]:
    """The entities, in this order, that mean the shape whatever the schema."""
    return [_explicit(shape.tables[table], shape) for table in order]


def _explicit(told: ContextTable, shape: ContextShape) -> Entity:
    return Entity(
        told.table,
        parent=[_short(relation, shape) for relation in (*told.parents, *told.threads)],
        title=told.title or None,
        labels=[column for column, _ in told.labels] or None,
        body=told.body,
        columns=told.columns,
        key=None if told.key == ("id",) else told.key,
        time=told.time,
        tag=told.tag,
        prefix=told.prefix,
        limit=told.limit,
        half_life=told.half_life,
        needs_parent=told.needs_parent if told.parents else None,
        in_time_order=told.in_time_order if told.parents else None,
        link=told.link or None,
    )


def _short(relation: Relation, shape: ContextShape) -> Parent:
    """The relation without what goes without saying."""
    is_key = relation.references == shape.tables[relation.parent].key
    return Parent(relation.columns, relation.parent, references=None if is_key else relation.references)

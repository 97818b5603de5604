"""A context with everything said: what a caller left out is taken from the schema, and what cannot be is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.schema.checks import check_column, located
from agent_persistence.schema.contexts import choosing, naming
from agent_persistence.schema.contexts.entity import Entity, Parent
from agent_persistence.schema.contexts.relations import check_reachable, ordered, related
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable, Relation
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.values import Table

_ROOT_LIMIT: Final = 10
_LIMIT: Final = 20
_LEAF_LIMIT: Final = 50
_LINK_LIMIT: Final = 200
_HALF_LIFE: Final = timedelta(days=180)
_EVENT_HALF_LIFE: Final = timedelta(days=30)
_RESERVED: Final = ("without_parent", "note", "field", "records")
_HEADING: Final = ("ref", "at")


def filled(entities: Sequence[Entity], roots: Sequence[str] | None, name: str, schema: Schema) -> ContextShape:
    """The shape that the entities mean over the schema. A table that it does not declare has what is said of it alone.

    Raises ConfigurationError for parents in a circle, tables and columns that there are not, entities to which nothing
    leads from a root, and names that stand for two things.
    """
    said = {entity.table: entity for entity in entities}
    parents = related(said, schema, roots or ())
    order = ordered(parents)
    if roots is not None:
        check_reachable(parents, roots)
    tags = _named(said, order, name)
    tables: dict[str, ContextTable] = {}
    for table in order:
        below = [child for child in order if any(parent.table == table for parent in parents[child])]
        with located(table):
            tables[table] = _filled(said[table], parents[table], schema, tags, below, tables)
    return ContextShape(name, tables, _roots(tables) if roots is None else tuple(roots), tuple(said))


def _filled(
    entity: Entity,
    parents: Sequence[Parent],
    schema: Schema,
    tags: Mapping[str, tuple[str, str]],
    below: Sequence[str],
    tables: Mapping[str, ContextTable],
) -> ContextTable:
    is_leaf = not set(below) - {entity.table}
    declared = schema.tables.get(entity.table)
    key = schema.primary_key(entity.table) if entity.key is None else entity.key
    if not key:
        raise ConfigurationError("rows are identified and cited by a key, and this table has none: say key=[…]")
    keys = {table: filled.key for table, filled in tables.items()} | {entity.table: key}
    relations = _relations(entity.table, parents, schema, tags, keys, [*_HEADING, *below])
    threads = tuple(relation for relation in relations if relation.parent == entity.table)
    others = tuple(relation for relation in relations if relation.parent != entity.table)
    time = choosing.time_of(declared) if entity.time is None and declared else entity.time or None
    held = {
        *key,
        *(column for relation in relations for column in relation.columns),
        *(() if time is None else (time,)),
    }
    title, body, labels = _shown(entity, declared, held, is_leaf=is_leaf)
    needs_parent = _is_needed(others, declared) if entity.needs_parent is None else entity.needs_parent
    taken = [*_HEADING, *below, *(relation.shown_as for relation in relations)]
    title_name = naming.attribute(title[0] if len(title) == 1 else "name", taken)
    link = bool(entity.link)
    if link and len(others) < 2:
        raise ConfigurationError(
            "a link is a table of pairs, and has two parents: the one that shows the other's records, and that other"
        )
    if link and not is_leaf:
        raise ConfigurationError(f"{', '.join(below)} cannot stand under a link, whose rows others show")
    filled = ContextTable(
        entity.table,
        *tags[entity.table],
        key,
        time,
        others,
        threads,
        title,
        title_name,
        _labelled(labels, [*taken, title_name] if title else taken),
        body,
        choosing.columns_of(declared, held) if entity.columns is None and declared else entity.columns or None,
        _limit(is_leaf=is_leaf, is_root=not others, link=link) if entity.limit is None else entity.limit,
        (_EVENT_HALF_LIFE if needs_parent and time else _HALF_LIFE) if entity.half_life is None else entity.half_life,
        needs_parent,
        needs_parent and time is not None if entity.in_time_order is None else entity.in_time_order,
        link,
    )
    _check_columns(filled, declared)
    return filled


def _relations(
    table: str,
    parents: Iterable[Parent],
    schema: Schema,
    tags: Mapping[str, tuple[str, str]],
    keys: Mapping[str, tuple[str, ...]],
    taken: Sequence[str],
) -> tuple[Relation, ...]:
    found: list[Relation] = []
    for parent in parents:
        references = parent.references or _referenced(table, parent, schema) or keys[parent.table]
        if len(references) != len(parent.columns):
            raise ConfigurationError(
                f"parent: {', '.join(parent.columns)} cannot hold the key of {parent.table}, {', '.join(references)};"
                " say Parent(columns, table, references=…)"
            )
        name = parent.shown_as or naming.relation_name(parent.columns, tags[parent.table][0])
        shown_as = naming.attribute(name, [*taken, *(relation.shown_as for relation in found)])
        found.append(Relation(table, parent.columns, parent.table, references, shown_as))
        if parent.table in schema.tables:
            for column in references:
                check_column(f"parent: references of {parent.table}", column, schema.tables[parent.table].columns)
    return tuple(found)


def _referenced(table: str, parent: Parent, schema: Schema) -> tuple[str, ...] | None:
    """What the declared foreign key of these columns says that they hold."""
    declared = schema.tables.get(table)
    for link in declared.foreign_keys if declared else ():
        if link.columns == parent.columns and link.table == parent.table:
            return link.targets
    return None


def _shown(
    entity: Entity, declared: Table | None, held: Collection[str], *, is_leaf: bool
) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
    """Title, body and labels: those that are said, and of the others those that the declared columns suggest."""
    said = {*(entity.title or ()), *(entity.labels or ()), *((entity.body,) if entity.body else ())}
    for column in said & set(held):
        raise ConfigurationError(
            f"{printable(column)} is the key, the time or a link to a parent; a prompt shows those by itself,"
            " so that it is no title, body or label"
        )
    title, body, labels = entity.title, entity.body, entity.labels
    if title is None:
        title = choosing.title_of(entity.table, declared, {*held, *said}) if declared and not entity.link else ()
    if body is None and declared and not entity.link:
        body = choosing.body_of(declared, {*held, *title, *said}, is_leaf=is_leaf)
    if labels is None:
        taken = {*held, *title, *((body,) if body else ())}
        labels = choosing.labels_of(declared, taken, has_body=bool(body)) if declared and not entity.link else ()
    return title, body or None, labels


def _is_needed(parents: Sequence[Relation], declared: Table | None) -> bool:
    """Whether the first parent is one that every row has."""
    if not parents or declared is None:
        return False
    return all(not declared.columns[column].nullable for column in parents[0].columns if column in declared.columns)


def _limit(*, is_leaf: bool, is_root: bool, link: bool) -> int:
    if link:
        return _LINK_LIMIT
    if is_root:
        return _ROOT_LIMIT
    return _LEAF_LIMIT if is_leaf else _LIMIT


def _labelled(columns: Iterable[str], taken: Iterable[str]) -> tuple[tuple[str, str], ...]:
    known = list(taken)
    found = []
    for column in columns:
        name = naming.attribute(column, known)
        known.append(name)
        found.append((column, name))
    return tuple(found)


def _check_columns(filled: ContextTable, declared: Table | None) -> None:
    if declared is None:
        return
    relations = (*filled.parents, *filled.threads)
    for option, columns in (
        ("key", filled.key),
        ("parent", [column for relation in relations for column in relation.columns]),
        ("time", (filled.time,) if filled.time else ()),
        ("title", filled.title),
        ("labels", [column for column, _ in filled.labels]),
        ("body", (filled.body,) if filled.body else ()),
        ("columns", filled.columns or ()),
    ):
        for column in columns:
            check_column(option, column, declared.columns)


def _named(said: Mapping[str, Entity], order: Sequence[str], name: str) -> dict[str, tuple[str, str]]:
    """By table, the tag and the prefix of its records: those that are said first, then the others in order."""
    tags: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for table, entity in said.items():
        for option, found, value in (("tag", tags, entity.tag), ("prefix", prefixes, entity.prefix)):
            if value is not None:
                if value in found.values() or (option == "tag" and value in (name, *_RESERVED)):
                    raise ConfigurationError(f"{table}: the {option} {value!r} is taken; give another one")
                found[table] = value
    for table in order:
        tags.setdefault(table, naming.tag_of(table, {name, *_RESERVED, *tags.values()}))
        prefixes.setdefault(table, naming.prefix_of(tags[table], set(prefixes.values())))
    return {table: (tags[table], prefixes[table]) for table in order}


def _roots(tables: Mapping[str, ContextTable]) -> tuple[str, ...]:
    """The first table without parents of each group of tables that hang together."""
    components = ContextShape("", tables, (), ()).components
    tops = [table for table, filled in tables.items() if not filled.parents]
    return tuple(next(table for table in tops if table in component) for component in components)

"""Which rows of one table decide which rows of another, from where reading begins. Pure.

Below an anchor a table holds children of the rows found; of the other tables, those above hold their parents, and those
beside them the children of these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from agent_persistence.schema.contexts.shape import ContextShape, Relation


@dataclass(frozen=True, slots=True)
class Choice:
    """Rows whose `columns` hold what `values_from` hold in a row found in `table`."""

    columns: tuple[str, ...]
    table: str
    values_from: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Only rows that one of the choices takes. `is_up` says that the table holds parents of the rows found."""

    choices: tuple[Choice, ...]
    is_up: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables whose rows decide."""
        return tuple(dict.fromkeys(choice.table for choice in self.choices))


@dataclass(slots=True)
class Reach:
    """By table the links that choose its rows; `below` are the anchors and all tables below them."""

    links: dict[str, tuple[Link, ...]] = field(default_factory=dict)
    below: frozenset[str] = frozenset()


def anchors(shape: ContextShape, read: Collection[str], filtered: Collection[str]) -> dict[str, None]:
    """The tables where reading begins, in each group of tables that hang together.

    They are the highest that a filter names; without a filter the roots, or what stands in for those that are not read:
    the nearest tables below, else those above.
    """
    found: dict[str, None] = {}
    for component in shape.components:
        named = [table for table in shape.tables if table in component and table in filtered]
        if named:
            found.update(dict.fromkeys(_highest(shape, named)))
        else:
            for root in shape.roots:
                if root in component:
                    found.update(dict.fromkeys(_stand_ins(shape, root, read)))
    return found


def _highest(shape: ContextShape, named: Iterable[str]) -> list[str]:
    named = list(named)
    below = {table: set(_below(shape, [table])) - {table} for table in named}
    return [table for table in named if not any(table in below[other] for other in named)]


def _stand_ins(shape: ContextShape, root: str, read: Collection[str]) -> list[str]:
    level = [root]
    while level:
        if found := [table for table in level if table in read]:
            return found
        level = list(dict.fromkeys(child for table in level for child in shape.children[table]))
    return [table for table in shape.tables if table in read and table in shape.above(root)]


def reach(shape: ContextShape, begin: Iterable[str], filtered: Collection[str]) -> Reach:
    """How all tables are reached from the anchors."""
    begin = list(begin)
    below = _below(shape, begin)
    found = Reach(below=frozenset(below))
    for table in below:
        found.links[table] = () if table in begin else tuple(_down(shape, table, below, filtered))
    while True:
        _climb(shape, found)
        beside = [
            table for table in shape.tables if table not in found.links and _parents_in(shape, table, found.links)
        ]
        if not beside:
            return found
        for table in beside:
            found.links[table] = tuple(_down(shape, table, found.links, filtered))


def _below(shape: ContextShape, begin: Iterable[str]) -> dict[str, None]:
    """The tables and all below them. What a root only refers to is below nothing but what is a reference itself."""
    found = dict.fromkeys(begin)
    queue = list(found)
    for table in queue:
        for child in shape.children[table]:
            if child not in found and (child not in shape.references or table in shape.references):
                found[child] = None
                queue.append(child)
    return found


def _climb(shape: ContextShape, found: Reach) -> None:
    """Level by level, the parents of the tables reached, looked up from all of the nearest that refer to them; from
    what a root only refers to where nothing else does."""
    while True:
        level = {
            relation.parent: None
            for table in found.links
            for relation in shape.tables[table].parents
            if relation.parent not in found.links
        }
        if not level:
            return
        reached = list(found.links)
        for parent in level:
            relations = [
                relation for table in reached for relation in shape.tables[table].parents if relation.parent == parent
            ]
            relations = [one for one in relations if one.table not in shape.references] or relations
            choices = (Choice(one.references, one.table, one.columns) for one in relations)
            found.links[parent] = (Link(tuple(choices), is_up=True),)


def _down(shape: ContextShape, table: str, reached: Collection[str], filtered: Collection[str]) -> Iterator[Link]:
    """A link to each parent that a filter names, and to the first that is reached, if records stand under it or no
    filter names another."""
    relations = [relation for relation in shape.tables[table].parents if relation.parent in reached]
    by_parent: dict[str, list[Relation]] = {}
    for relation in relations:
        by_parent.setdefault(relation.parent, []).append(relation)
    named = [parent for parent in by_parent if parent in filtered]
    first = relations[0]
    if first is shape.tables[table].parents[0] or not named:
        named = list(dict.fromkeys([first.parent, *named]))
    for parent in by_parent:
        if parent in named:
            yield Link(tuple(Choice(one.columns, parent, one.references) for one in by_parent[parent]))


def _parents_in(shape: ContextShape, table: str, reached: Collection[str]) -> bool:
    return any(relation.parent in reached for relation in shape.tables[table].parents)

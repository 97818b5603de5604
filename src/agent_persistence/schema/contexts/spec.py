"""Which tables make a context: the value that callers give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.schema import files
from agent_persistence.schema.checks import located, words
from agent_persistence.schema.contexts import documents, drafting
from agent_persistence.schema.contexts.entity import Columns, Entity
from agent_persistence.schema.contexts.filling import filled
from agent_persistence.schema.contexts.relations import check_reachable, ordered, related
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema.registry import Schema


@dataclass(frozen=True, slots=True, init=False)
class ContextSpec:
    """The tables of a context, how they hang together, and how prompts show them.

    `root` is the table that the context is about, or several: where reading begins when no filter says where else. By
    default it is the first table without parents of each group of tables that hang together. `name` begins a prompt.

    What the entities do not say is taken from the schema of the source that is read. With `schema` that is done now as
    well, so that what cannot be is refused where it is written: parents in a circle, tables and columns that there are
    not, tables that nothing leads to from a root. All are a ConfigurationError.
    """

    entities: tuple[Entity, ...]
    roots: tuple[str, ...] | None
    name: str

    def __init__(
        self,
        entities: Iterable[Entity],
        *,
        root: Columns | None = None,
        name: str = "context",
        schema: Schema | None = None,
    ) -> None:
        given = tuple(entities)
        roots = None if root is None else (root,) if isinstance(root, str) else words("root", root)
        _check(given, name)
        for field, value in (("entities", given), ("roots", roots), ("name", name)):
            object.__setattr__(self, field, value)
        if schema is not None:
            self.shape(schema)
            return
        parents = related({entity.table: entity for entity in given}, Schema(), roots or ())
        ordered(parents)
        if roots is not None and all(entity.parents is not None for entity in given):
            check_reachable(parents, roots)

    def shape(self, schema: Schema) -> ContextShape:
        """The context with everything said, over this schema."""
        return filled(self.entities, self.roots, self.name, schema)

    @classmethod
    def from_schema(
        cls,
        schema: Schema,
        root: Columns,
        *,
        tables: Iterable[str] | None = None,
        without: Iterable[str] = (),
        depth: int = 3,
        name: str = "context",
    ) -> Self:
        """The context of one table, or several, along the declared foreign keys, with everything said.

        It takes the tables above the root, those below it for `depth` levels, and those that these refer to; of
        `tables` alone where they are named, and none of `without`. Tables without a key are left out. Tables of pairs
        become links, and columns of secrets, bytes and vectors are left out of the others.
        """
        roots = (root,) if isinstance(root, str) else words("root", root)
        drafted = drafting.draft(schema, roots, tables=tables, without=without, depth=depth)
        shape = filled(drafted, roots, name, schema)
        return cls(documents.explicit(shape, drafting.arranged(shape)), root=roots, name=name, schema=schema)

    @classmethod
    def from_file(cls, path: str | Path, *, schema: Schema | None = None) -> Self:
        """Read a context from a `.toml` or `.json` file, whose keys are the arguments of this class and of `Entity`.

            root = ["tickets"]

            [entities.tickets]
            parent = { customer_id = "customers" }
            title = "subject"
            half_life_days = 30

            [entities.customers]
            limit = 5

        Several columns, and what `Parent` says besides, are written as
        `parent = [{ columns = ["year", "number"], table = "orders", shown_as = "order" }]`.
        """
        with located(str(path)):
            return cls.from_document(files.read(Path(path)), schema=schema)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, schema: Schema | None = None) -> Self:
        """Make a context from the mapping that a file of `from_file` holds."""
        return cls(**documents.read(document), schema=schema)

    def to_document(self) -> dict[str, Any]:
        """The mapping from which `from_document` makes an equal context; it holds nothing but JSON."""
        return documents.written(self.entities, self.roots, self.name)

    def to_toml(self) -> str:
        """The context as TOML, in the format of `from_file`."""
        return documents.to_toml(self.to_document())


def _check(entities: tuple[Any, ...], name: object) -> None:
    if not is_identifier(name):
        raise ConfigurationError(f"name is made of lower-case letters, digits and _, not {printable(name)}")
    if not entities:
        raise ConfigurationError("a context needs an Entity at least")
    seen: set[str] = set()
    for entity in entities:
        if not isinstance(entity, Entity):
            raise ConfigurationError(f'a context holds Entity("table", …), not {printable(entity)}')
        if entity.table in seen:
            raise ConfigurationError(f"{entity.table} stands twice in the context")
        seen.add(entity.table)

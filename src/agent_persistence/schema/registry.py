"""What the tables look like: columns, keys and relations, declared once for everybody who needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from agent_persistence.exceptions import printable
from agent_persistence.schema import document as documents, files, json_schema, models, openapi
from agent_persistence.schema.checks import check_column, check_known, check_table_name, declared, entries, located
from agent_persistence.schema.values import Column, ForeignKey, Generated, Table

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Column", "ForeignKey", "Generated", "Schema", "Table", "default_schema"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Schema:
    """The declared tables by name. A table that is not declared is not checked."""

    tables: Mapping[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", MappingProxyType(declared("tables", self.tables, Table)))
        for name, table in self.tables.items():
            check_table_name(name)
            for link in table.foreign_keys:
                target = self.tables.get(link.table)
                if target is not None:
                    for column in link.targets:
                        check_column(f"{name}.foreign_keys: {link.table}", column, target.columns)

    def primary_key(self, table: str) -> tuple[str, ...]:
        """The table's key columns; ("id",) for a table that is not declared."""
        declared = self.tables.get(table)
        return declared.primary_key if declared else ("id",)

    def columns(self, table: str) -> Mapping[str, Column]:
        """The table's declared columns; none for a table that is not declared."""
        declared = self.tables.get(table)
        return declared.columns if declared else {}

    def column(self, table: str, name: str) -> Column | None:
        """The table's column of this name, or what a path of one of its JSON columns reads; None where not declared."""
        declared = self.tables.get(table)
        return declared.column(name) if declared else None

    def paths(self, table: str) -> tuple[str, ...]:
        """The table's declared paths."""
        declared = self.tables.get(table)
        return declared.paths if declared else ()

    @staticmethod
    def default() -> Schema:
        """The eight business tables of the reference schema."""
        return default_schema()

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a schema from a `.toml` or `.json` file; both hold the same keys.

            [tables.leads]                    # any other name in quotes: [tables."Order lines"]
            primary_key = ["id"]              # this is the default; [] for a view
            read_only = false                 # the default; true for a view that takes no writes
            unique = [["email"]]
            paths = ["custom->>role", "custom->address->>city"]     # what queries may read of JSON columns

            [tables.leads.columns]
            id = { type = "uuid", nullable = false, generated = "uuid" }       # or "now", "identity"
            email = { type = "text", nullable = false, pii = "email" }
            status = { type = "text", default = "new", one_of = ["new", "won"] }
            custom = { type = "jsonb", default_json = '{"seen": null}' }       # what TOML cannot say, as JSON
            client_id = "uuid"                # a column of which only the type is given

            [[tables.leads.foreign_keys]]
            column = "client_id"
            table = "clients"
            references = "id"                 # the default; a key of several columns is a list in both
            on_delete_cascade = false         # the default

        Anything else raises ConfigurationError with the place and the key that may have been meant.
        """
        with located(str(path)):
            return cls.from_document(files.read(Path(path)))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Make a schema from the mapping that a file of `from_file` holds."""
        tables = entries(document, known=("tables",), needed=("tables",))["tables"]
        with located("tables"):
            tables = entries(tables)
        made = {}
        for name, table in tables.items():
            check_table_name(name)
            with located(name):
                made[name] = documents.table(table)
        return cls(made)

    @classmethod
    def from_models(
        cls,
        by_table: Mapping[str, type[BaseModel]],
        /,
        *,
        primary_keys: Mapping[str, Sequence[str]] = _NOTHING,
        unique: Mapping[str, Sequence[Sequence[str]]] = _NOTHING,
        paths: Mapping[str, Sequence[str]] = _NOTHING,
    ) -> Self:
        """Make a schema from pydantic models by table name, with the columns that writing such a model would name.

        Types and nullability are those of the fields, by serialisation alias; `Field(json_schema_extra={"pii": …})`
        tags a column. Models do not say which defaults the database makes, and so no default is declared, nor which
        columns are keys: `primary_keys` and `unique` say it by table; "id", where there is one, is the primary key.
        `paths` are those of the JSON columns, by table.
        """
        tables = {}
        for option, names in (("primary_keys", primary_keys), ("unique", unique), ("paths", paths)):
            check_known(option, names, by_table)
        for name, model in by_table.items():
            with located(printable(name)):
                tables[name] = models.table(model, primary_keys.get(name), unique.get(name, ()))
                tables[name]["paths"] = paths.get(name, ())
        return cls.from_document({"tables": tables})

    @classmethod
    def from_openapi(
        cls,
        document: Mapping[str, Any],
        *,
        unique: Mapping[str, Sequence[Sequence[str]]] = _NOTHING,
        paths: Mapping[str, Sequence[str]] = _NOTHING,
    ) -> Self:
        """Make a schema from PostgREST's OpenAPI description, which is the JSON at the root of its URL.

        It names no unique sets and no paths of JSON columns, which `unique` and `paths` add by table, no foreign keys
        of several columns, and no expressions but the usual generated ones; an integer primary key without a default
        that refers to no other table is taken for an identity. A smallint is read as integer: PostgREST does not
        distinguish the two since 14.8. What takes no writes, as a view of several tables, is `read_only`. A column
        whose name has the form of a path is left out.
        """
        tables = openapi.tables(document)
        for option, by_table in (("unique", unique), ("paths", paths)):
            check_known(option, by_table, tables)
            for name, given in by_table.items():
                tables[name][option] = given
        return cls.from_document({"tables": tables})

    def to_json_schema(self) -> dict[str, Any]:
        """A JSON Schema (2020-12) whose `$defs` describe a row of each table, by its name.

        A column that may be NULL or that the database can fill is not required.
        """
        return json_schema.document(self)

    def to_document(self) -> dict[str, Any]:
        """The mapping from which `from_document` makes an equal schema; it holds nothing but JSON."""
        return {"tables": {name: documents.to_document(table) for name, table in self.tables.items()}}

    def to_toml(self) -> str:
        """The schema as TOML, in the format of `from_file`."""
        return files.to_toml(self.to_document())

    def to_file(self, path: str | Path) -> None:
        """Write the schema into a `.toml` or `.json` file, from which `from_file` reads an equal one."""
        files.write(Path(path), self.to_document())


@cache
def default_schema() -> Schema:
    """The eight business tables of the reference schema."""
    return Schema.from_file(Path(__file__).parents[1] / "presets" / "crm.toml")

"""A declared schema: every part is checked when it is made, and says what is wrong and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_persistence import ConfigurationError, Schema
from agent_persistence.query.identifiers import base_column
from agent_persistence.schema_registry import Column, ForeignKey, Generated, Table, default_schema
from tests.doubles import Lying, shown

ID = {"id": Column("bigint")}


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Column(""), "type"),
        (lambda: Column(" "), "type"),
        (lambda: Column(5), "type"),  # type: ignore[arg-type]
        (lambda: Column("te\0xt"), "type"),
        (lambda: Column("text", nullable="no"), "nullable is true or false"),  # type: ignore[arg-type]
        (lambda: Column("text", one_of="new"), "one_of is a list"),  # type: ignore[arg-type]
        (lambda: Column("text", one_of=(5,)), "one_of holds int"),  # type: ignore[arg-type]
        (lambda: Column("text", pii=""), "pii"),
        (lambda: Column("text", pii=True), "pii"),  # type: ignore[arg-type]
        (lambda: Column("text", default=object()), "default: object has no JSON form"),
        (lambda: Column("numeric", default=float("nan")), "default: nan"),
        (lambda: ForeignKey("", "clients"), "no name of a column"),
        (lambda: ForeignKey("client_id", ""), "'' is no name of a table"),
        (lambda: ForeignKey("client_id", "clients", ""), "no name of a column"),
        (lambda: ForeignKey("a", "b", on_delete_cascade=1), "on_delete_cascade"),  # type: ignore[arg-type]
        (lambda: Table([]), "columns: a mapping is needed"),  # type: ignore[arg-type]
        (lambda: Table({"id": "bigint"}), "columns: 'id' is a Column, not str"),  # type: ignore[dict-item]
        (lambda: Table(ID, "id"), "primary_key is a list"),  # type: ignore[arg-type]
        (lambda: Table(ID, unique=("id",)), "unique is a list, not str"),  # type: ignore[arg-type]
        (lambda: Table(ID, unique=((),)), "unique: a set of columns is empty"),
        (lambda: Table(ID, foreign_keys=("id",)), "foreign_keys holds str"),  # type: ignore[arg-type]
        (lambda: Schema([]), "tables: a mapping is needed"),  # type: ignore[arg-type]
        (lambda: Schema({"leads": ID}), "tables: 'leads' is a Table"),  # type: ignore[dict-item]
    ],
)
def test_a_malformed_part_is_refused(make: Callable[[], object], problem: str) -> None:
    """The ConfigurationError names the argument and what it may be."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"primary_key": ("idd",)}, {"unique": (("id",), ("idd",))}, {"foreign_keys": (ForeignKey("idd", "clients"),)}],
    ids=shown,
)
def test_keys_name_declared_columns(options: dict[str, Any]) -> None:
    """The message says which argument, which column may have been meant, and which there are."""
    (option,) = options
    with pytest.raises(ConfigurationError, match=f"{option}: no column 'idd': did you mean 'id'.; columns are id"):
        Table(ID, **options)


def test_a_foreign_key_names_a_column_of_the_other_table_if_that_is_declared() -> None:
    """A table that is not declared may be referenced: nothing is known about it."""
    link = ForeignKey("id", "clients", "uid")
    with pytest.raises(ConfigurationError, match=r"leads.foreign_keys: clients: no column 'uid': did you mean 'id'"):
        Schema({"leads": Table(ID, foreign_keys=(link,)), "clients": Table(ID)})
    assert Schema({"leads": Table(ID, foreign_keys=(link,))}).tables["leads"].foreign_keys == (link,)


@pytest.mark.parametrize(
    "name", ["", "a" * 64, "я" * 32, "a\0b", "\ud800", 5, None, Lying("leads", "leads")], ids=shown
)
def test_a_table_has_a_name_that_postgres_can_store(name: Any) -> None:
    """Of 63 bytes at most; a longer one would be cut in silence."""
    with pytest.raises(ConfigurationError):
        Schema({name: Table(ID)})


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", 5, None, Lying("id", "id")], ids=shown)
def test_a_column_has_a_name_that_postgres_can_store(name: Any) -> None:
    """Without NUL and lone surrogates, and not empty."""
    with pytest.raises(ConfigurationError):
        Table({name: Column("text")}, primary_key=())


@pytest.mark.parametrize("name", ["e-mail", "Weird Name", "order", "ｅｍａｉｌ", "🙂", '"'])
def test_any_other_name_of_a_column_is_accepted(name: str) -> None:
    """Control of the rule above: PostgreSQL quotes what it must."""
    assert name in Table({**ID, name: Column("text")}).columns


@pytest.mark.parametrize("type_name", ["citext", "vector(1536)", "public.mood", "any"])
def test_a_type_that_is_not_known_is_accepted(type_name: str) -> None:
    """Extensions and users define types of their own."""
    assert Column(type_name).type == type_name


JSON = {**ID, "custom": Column("jsonb"), "raw": Column("json"), "name": Column("text", pii="name")}


@pytest.mark.parametrize(
    ("path", "type_name"),
    [
        ("custom->>role", "text"),
        ("custom->role", "jsonb"),
        ("custom->address->>city", "text"),
        ("custom->tags->0", "jsonb"),
        ("custom->tags->>-1", "text"),
        ("custom->camelCase->_x", "jsonb"),
        ("raw->>role", "text"),
        ("raw->role", "json"),
    ],
)
def test_a_path_of_a_json_column_is_declared(path: str, type_name: str) -> None:
    """`->>` reads a text, `->` what the column holds."""
    schema = Schema({"leads": Table(JSON, paths=[path])})  # type: ignore[arg-type]
    assert schema.paths("leads") == (path,)
    assert schema.column("leads", path) == Column(type_name)
    assert path not in schema.columns("leads")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("custom.role", "'custom.role' is no path; write column->>key"),
        ("custom", "'custom' is no path"),
        ("custom->>", "is no path"),
        ("custom->>a->b", "is no path"),
        ("custom->a b", "is no path"),
        ("custom->'a'", "is no path"),
        ("custom->>a::int", "is no path"),
        ("x:custom->>a", "paths: no column 'x:custom': did you mean 'custom'?"),
        ("custom->1a", "is no path"),
        ("custom->1234567890", "is no path"),
        ("custom->>ключ", "is no path"),
        ("custom->>a\n", "is no path"),
        ("custm->>a", "paths: no column 'custm': did you mean 'custom'?"),
        ("name->>a", "paths: name->>a reads name, which is text; only json and jsonb have paths"),
    ],
    ids=shown,
)
def test_any_other_path_is_refused(path: str, problem: str) -> None:
    """Keys are plain, `->>` comes last, and the column is declared and holds JSON."""
    with pytest.raises(ConfigurationError) as caught:
        Table(JSON, paths=(path,))
    assert problem in str(caught.value)


def test_paths_are_a_list() -> None:
    """A lone text would be one of letters."""
    with pytest.raises(ConfigurationError, match="paths is a list, not str"):
        Table(JSON, paths="custom->>a")  # type: ignore[arg-type]


def test_no_column_has_the_name_of_a_path() -> None:
    """The two could not be told apart."""
    with pytest.raises(ConfigurationError, match="'custom->>a' is a path of 'custom'; it belongs into `paths`"):
        Table({**JSON, "custom->>a": Column("text")})


def test_what_a_path_reads_is_as_personal_as_its_column() -> None:
    """The tag is that of the column."""
    table = Table({**ID, "who": Column("jsonb", pii="name")}, paths=("who->>first",))
    assert table.column("who->>first") == Column("text", pii="name")
    assert table.column("nobody->>first") is None


def test_the_column_of_a_path_is_told() -> None:
    """For whoever decides by columns."""
    assert [base_column(name) for name in ("custom->a->>b", "custom", "a->b c")] == ["custom", "custom", "a->b c"]


def test_a_table_without_a_key_says_so() -> None:
    """A view has the empty primary key."""
    assert Table({"email": Column("text")}, primary_key=()).primary_key == ()
    with pytest.raises(ConfigurationError, match="primary_key"):
        Table({"email": Column("text")})


def test_later_edits_of_what_was_passed_in_change_nothing() -> None:
    """Columns, keys and defaults are copied."""
    columns, key, default = dict(ID), ["id"], {"a": [1]}
    columns["custom"] = Column("jsonb", default=default)
    table = Table(columns, key)  # type: ignore[arg-type]
    tables = {"leads": table}
    schema = Schema(tables)
    columns.clear()
    key.clear()
    tables.clear()
    default["a"].append(2)
    assert (list(table.columns), table.primary_key, list(schema.tables)) == (["id", "custom"], ("id",), ["leads"])
    assert table.columns["custom"].default == {"a": [1]}


def test_the_default_schema_is_that_of_the_reference() -> None:
    """Eight tables; the spot checks are of shared/schema.sql."""
    tables = Schema.default().tables
    assert Schema.default() is default_schema()
    assert list(tables) == [
        "clients", "campaigns", "leads", "conversations", "messages", "sequences", "staging_leads", "inquiries",
    ]  # fmt: skip
    assert tables["clients"].columns["budget"] == Column("numeric(12,2)")
    assert tables["campaigns"].columns["status"].one_of == ("draft", "active", "paused", "done")
    assert tables["messages"].columns["id"] == Column("bigint", nullable=False, default=Generated.IDENTITY)
    assert tables["messages"].foreign_keys == (ForeignKey("conversation_id", "conversations", on_delete_cascade=True),)
    assert tables["sequences"].unique == (("campaign_id", "step"),)


def test_the_default_schema_tags_what_tells_about_a_person() -> None:
    """Addresses, telephone numbers and names."""
    tagged = {
        (table, name): column.pii
        for table, declared in Schema.default().tables.items()
        for name, column in declared.columns.items()
        if column.pii
    }
    assert tagged == {
        ("clients", "name"): "name",
        **{(table, "email"): "email" for table in ("clients", "leads", "staging_leads", "inquiries")},
        **{("leads", name): "name" for name in ("first_name", "last_name")},
        ("leads", "phone"): "phone",
    }

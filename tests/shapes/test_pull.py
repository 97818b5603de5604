"""What a backend tells of tables of any shape, as a schema that works in memory, and as models that type check."""

from __future__ import annotations

import importlib.util
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from mypy import api as mypy
from pydantic import BaseModel

from agent_persistence import ConfigurationError, InMemoryAdapter, Schema, create_persistence_agent
from agent_persistence.adapters.local import LocalAdapter
from agent_persistence.cli.catalogue import pulled_schema
from agent_persistence.cli.database import Database
from agent_persistence.schema.json_schema import model_code
from agent_persistence.schema_registry import Column, ForeignKey, Generated, Table
from tests.backends.stub_server import answer, stub_server
from tests.cli.program import ran
from tests.server import LocalServer
from tests.shapes.conftest import pulled

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "Post": Table(
        {
            "id": Column("integer", nullable=False, default=Generated.IDENTITY),
            "authorId": Column("integer", nullable=False),
            "isPublished": Column("boolean", nullable=False, default=False),
            "title": Column("text", nullable=False),
        },
        foreign_keys=(ForeignKey("authorId", "User", on_delete_cascade=True),),
    ),
    "User": Table(
        {
            "id": Column("integer", nullable=False, default=Generated.IDENTITY),
            "email": Column("text", nullable=False),
            "displayName": Column("text"),
            "role": Column('"Role"', nullable=False, default="USER", one_of=("USER", "EDITOR", "ADMIN")),
            "plan": Column("text", default="free", one_of=("free", "paid")),
            "createdAt": Column("timestamptz", nullable=False, default=Generated.NOW),
            "custom Data": Column("jsonb"),
            "tags": Column("text[]", nullable=False, default=[]),
        },
        unique=(("email",),),
    ),
    "_PostToTag": Table(
        {"A": Column("integer", nullable=False), "B": Column("text", nullable=False)},
        primary_key=(),
        unique=(("A", "B"),),
        foreign_keys=(ForeignKey("A", "Post", on_delete_cascade=True),),
    ),
    "order lines": Table(
        {
            "order-id": Column("integer", nullable=False),
            "line": Column("integer", nullable=False),
            "sku": Column("text"),
            "amount": Column("numeric(12,2)", nullable=False, default=0),
        },
        primary_key=("order-id", "line"),
    ),
    "shipments": Table(
        {
            "id": Column("integer", nullable=False, default=Generated.IDENTITY),
            "order-id": Column("integer"),
            "line": Column("integer"),
            "carrier": Column("text", nullable=False, default="post"),
        },
        unique=(("carrier", "order-id", "line"),),
        foreign_keys=(ForeignKey(["order-id", "line"], "order lines", ["order-id", "line"], on_delete_cascade=True),),
    ),
    "posts_of_admins": Table(
        {
            "id": Column("integer"),
            "authorId": Column("integer"),
            "isPublished": Column("boolean"),
            "title": Column("text"),
        },
        primary_key=(),
        read_only=True,
    ),
    "readings": Table(
        {
            "sensor": Column("integer", nullable=False),
            "day": Column("date", nullable=False),
            "value": Column("double precision"),
        },
        primary_key=("sensor", "day"),
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_catalogues_tell_a_table_of_any_shape(shapes_server: LocalServer, name: str) -> None:
    """Names, domains, enums, keys and foreign keys of several columns, unique indexes, views, partitions."""
    assert pulled(shapes_server).tables[name] == EXPECTED[name]


def test_the_catalogues_tell_which_views_take_writes(shapes_server: LocalServer) -> None:
    """By themselves or by a trigger; partitions are no tables of their own."""
    tables = pulled(shapes_server).tables
    assert {name for name, table in tables.items() if table.read_only} == {"posts_of_admins", "post_counts"}
    assert not {"readings_2026", "readings_later"} & tables.keys()
    assert list(pulled(shapes_server, "audit").tables) == ["Log"]


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_file_keeps_it_all(shapes_server: LocalServer, tmp_path: Path, suffix: str) -> None:
    """Names in quotes, keys of several columns, what takes no writes."""
    schema = pulled(shapes_server)
    path = tmp_path / f"schema.{suffix}"
    schema.to_file(path)
    assert Schema.from_file(path) == schema


OPENAPI: dict[str, Any] = {
    "swagger": "2.0",
    "paths": {
        "/User": {"get": {}, "post": {}, "patch": {}, "delete": {}},
        "/order lines": {"get": {}, "post": {}, "patch": {}, "delete": {}},
        "/spenders": {"get": {}},
    },
    "definitions": {
        "User": {
            "required": ["id", "role"],
            "properties": {
                "id": {"format": "int32", "type": "integer", "description": "Note:\nThis is a Primary Key.<pk/>"},
                "displayName": {"format": "text", "type": "string"},
                "role": {"format": 'public."Role"', "type": "string", "enum": ["USER", "ADMIN"], "default": "USER"},
            },
        },
        "order lines": {
            "required": ["order-id", "line"],
            "properties": {
                "order-id": {"format": "int32", "type": "integer", "description": "<pk/>"},
                "line": {"format": "int32", "type": "integer", "description": "<pk/>"},
                "a->>b": {"format": "text", "type": "string"},
                "userId": {"format": "int32", "type": "integer", "description": "<fk table='User' column='id'/>"},
            },
        },
        "spenders": {"properties": {"userId": {"format": "int32", "type": "integer"}}},
    },
}


def test_a_description_tells_tables_of_any_name() -> None:
    """Keys of several columns, enums, and a view that takes no writes; a name that reads as a path is left out."""
    schema = Schema.from_openapi(OPENAPI)
    lines = schema.tables["order lines"]
    assert (lines.primary_key, list(lines.columns)) == (("order-id", "line"), ["order-id", "line", "userId"])
    assert lines.foreign_keys == (ForeignKey("userId", "User"),)
    assert schema.columns("User")["role"] == Column(
        'public."Role"', nullable=False, default="USER", one_of=("USER", "ADMIN")
    )
    assert [name for name, table in schema.tables.items() if table.read_only] == ["spenders"]


@pytest.mark.anyio
async def test_a_described_schema_works_in_memory() -> None:
    """Enums are compared there, and foreign keys hold."""
    schema = Schema.from_openapi(OPENAPI)
    agent = create_persistence_agent(
        adapter=InMemoryAdapter(schema=schema), schema=schema, tables=["User", "order lines"]
    )
    user = await agent.write("User", {"displayName": "Ada"})
    assert (user["role"], await agent.count("User", {"role": "USER"})) == ("USER", 1)
    await agent.write("order lines", {"order-id": 1, "line": 1, "userId": user["id"]})
    assert await agent.read("order lines", {"order-id": 1, "line": 1}) is not None


def test_another_schema_is_described_by_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the tables are asked for: by the header Accept-Profile."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(json.dumps(OPENAPI).encode())) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        assert ran("schema", "pull", "--db-schema", "audit").status == 0
        assert ran("schema", "pull").status == 0
        first, second = server.requests
    assert first.headers["accept-profile"] == "audit"
    assert "accept-profile" not in second.headers


# --- models -----------------------------------------------------------------------------------------------------------

USAGE = """
from __future__ import annotations

from typing import assert_type

from agent_persistence import PersistenceAgent

from models import Bookings, FieldPostToTag, OrderLines, Post, User


async def used(agent: PersistenceAgent) -> None:
    users = agent.table(User, "User")
    user = await users.write(User(email="a@x"))
    assert_type(user, User)
    assert_type(user.displayName, str | None)
    assert_type(user.tags, list[str] | None)
    line = await agent.table(OrderLines, "order lines").read({"order-id": 1, "line": 2})
    assert line is None or line.order_id == 1
    async for post in agent.table(Post, "Post").iterate():
        assert_type(post.isPublished, bool | None)
    await agent.table(OrderLines, "order lines").write(OrderLines(order_id=1, line=2))
    await agent.table(FieldPostToTag, "_PostToTag").write(FieldPostToTag(A=1, B="x"))
    await agent.table(Bookings, "bookings").write(Bookings(seats="[1,5)", labels=["a"]))
"""


def imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_models_of_the_catalogues_type_check(
    shapes_server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mypy --strict finds nothing in them nor in their use; a wrong use it finds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", shapes_server.database_url)
    ended = ran("schema", "pull", "--kind", "postgres", "--output", "schema.toml", "--models", "models.py", "--json")
    assert (ended.status, ended.document["models"]) == (0, "models.py")
    assert ran("schema", "pull", "--kind", "postgres", "--models", "-").out == Path("models.py").read_text()
    assert ran("schema", "pull", "--kind", "postgres", "--models", "models.py").status == 3
    Path("usage.py").write_text(USAGE, encoding="utf-8")
    Path("wrong.py").write_text("from models import User\n\nUser(email=5).nothing\n", encoding="utf-8")
    options = ["--strict", "--no-incremental", "--no-error-summary", "--config-file="]
    monkeypatch.setenv("MYPYPATH", f"{tmp_path}")
    report, errors, status = mypy.run([*options, "models.py", "usage.py"])
    assert (report, errors, status) == ("", "", 0)
    report, _, status = mypy.run([*options, "wrong.py"])
    assert status == 1
    assert "arg-type" in report
    assert "attr-defined" in report


@pytest.mark.anyio
async def test_typed_tables_work_with_the_models(shapes: Schema, tmp_path: Path) -> None:
    """Whatever the names of columns; a time is a time and an enum one of its values."""
    path = tmp_path / "shape_models.py"
    path.write_text(model_code(shapes), encoding="utf-8")
    models = imported(path)
    agent = create_persistence_agent(adapter=InMemoryAdapter(schema=shapes), schema=shapes, tables=list(shapes.tables))
    users = agent.table(models.User, "User")
    user = await users.write(models.User(email="a@x", custom_Data={"a": [1]}, tags=["x"]))
    assert (user.role, user.custom_Data, user.createdAt.tzinfo is not None) == ("USER", {"a": [1]}, True)
    lines = agent.table(models.OrderLines, "order lines")
    await lines.batch_write([models.OrderLines(order_id=1, line=n, amount="1.50") for n in (2, 1)])
    found = await lines.read({"order-id": 1, "line": 2})
    assert found is not None
    assert (found.order_id, found.amount) == (1, Decimal("1.5"))
    assert [line.line async for line in lines.iterate(page_size=1)] == [1, 2]
    odd = agent.table(models.NaïveV1100, 'naïve, (v1) "100%"')
    stored = await odd.write({"id": 1, 'a"b': "x", "имя": "y", "(x)": "z"})
    assert stored.model_dump(by_alias=True, exclude_none=True) == {"id": 1, 'a"b': "x", "имя": "y", "(x)": "z"}


ODD = ['"""', "'''", "\\", 'x"""\nimport os\n"""', "class", "{{ x }}", "{% x %}", "модель", "1", "A\u2028b", "None"]


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_characters_make_no_code(name: str, tmp_path: Path) -> None:
    """As a table, a column, a listed value and a default: the module defines models and nothing else."""
    column = Column("text", nullable=False, one_of=(name, "other"))
    schema = Schema({name: Table({"id": Column("integer"), name: column})})
    path = tmp_path / "odd_models.py"
    path.write_text(model_code(schema), encoding="utf-8")
    module = imported(path)
    defined = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == "odd_models"]
    (model,) = defined
    assert issubclass(model, BaseModel)
    assert model.model_validate({"id": 1, name: name}).model_dump(by_alias=True) == {"id": 1, name: name}
    assert "os" not in vars(module)


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datamodel_code_generator", None)
    with pytest.raises(ConfigurationError, match=r"models need datamodel-code-generator: pip install '.\[models\]'"):
        model_code(Schema(EXPECTED))


def test_rows_as_json_schema() -> None:
    """What may be left out is not required; what may be NULL may be null."""
    row = Schema(EXPECTED).to_json_schema()["$defs"]["User"]
    assert row["required"] == ["email"]
    assert row["properties"]["email"] == {"type": "string"}
    assert row["properties"]["createdAt"] == {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
        "default": None,
    }
    assert row["properties"]["tags"]["anyOf"][0] == {"type": "array", "items": {"type": "string"}}


def test_a_local_database_is_made_of_it(shapes_server: LocalServer, tmp_path: Path) -> None:
    """With enums, names and foreign keys as they are; views are not made, for nobody tells what they show."""
    schema = Schema(EXPECTED)

    async def main() -> Schema:
        adapter = LocalAdapter(tmp_path, schema=schema)
        try:
            return await pulled_schema(Database(adapter), "public")
        finally:
            await adapter.aclose()

    made = anyio.run(main)
    assert made.tables == {name: table for name, table in schema.tables.items() if not table.read_only}

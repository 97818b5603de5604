"""Schemas from pydantic models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, EmailStr, Field, SecretStr, create_model
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from agent_persistence import ConfigurationError, Schema
from agent_persistence.schema_registry import Column, Table
from tests.doubles import shown


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Level(IntEnum):
    LOW = 1


class Part(BaseModel):
    a: int


class Typed(TypedDict):
    a: int


@dataclass
class Data:
    a: int


Key = NewType("Key", UUID)


def column(annotation: Any) -> Column:
    deferred = ConfigDict(defer_build=True)  # an EmailStr needs a further library when the model is built
    model = create_model("Model", __config__=deferred, field=(annotation, ...))
    return Schema.from_models({"things": model}).columns("things")["field"]


@pytest.mark.parametrize(
    ("annotation", "type_name"),
    [
        (str, "text"),
        (SecretStr, "text"),
        (EmailStr, "text"),
        (bool, "boolean"),
        (int, "bigint"),
        (Level, "bigint"),
        (float, "double precision"),
        (Decimal, "numeric"),
        (datetime, "timestamptz"),
        (date, "date"),
        (time, "time"),
        (timedelta, "interval"),
        (UUID, "uuid"),
        (Key, "uuid"),
        (bytes, "bytea"),
        (list[str], "text[]"),
        (set[int], "bigint[]"),
        (tuple[UUID, ...], "uuid[]"),
        (Sequence[Annotated[int, Field(gt=0)]], "bigint[]"),
        (list[str | None], "text[]"),
        (list[list[int]], "bigint[]"),
        (list[dict[str, int]], "jsonb"),
        (list[Part], "jsonb"),
        (tuple[int, str], "jsonb"),
        (dict[str, Any], "jsonb"),
        (Mapping[str, int], "jsonb"),
        (Part, "jsonb"),
        (Typed, "jsonb"),
        (Data, "jsonb"),
        (Any, "any"),
        (int | str, "any"),
        (Literal[1, "a"], "any"),
        (object, "any"),
        (list[Any], "any"),
    ],
    ids=shown,
)
def test_a_field_has_the_type_that_stores_its_values(annotation: Any, type_name: str) -> None:
    """What no type of PostgreSQL's is sure to store is of type "any", which is not checked."""
    assert column(annotation).type == type_name


@pytest.mark.parametrize(
    ("annotation", "nullable"),
    [
        (str, False),
        (str | None, True),
        (Optional[str], True),  # noqa: UP045
        (Annotated[str | None, Field(max_length=5)], True),
        (Any, True),
        (int | str | None, True),
        (int | str, False),
    ],
    ids=shown,
)
def test_a_field_that_may_be_none_is_nullable(annotation: Any, nullable: bool) -> None:
    """And no other is."""
    assert column(annotation).nullable is nullable


@pytest.mark.parametrize(
    "annotation", [Literal["good", "bad"], Mood, Mood | None, Literal[Mood.GOOD, Mood.BAD]], ids=shown
)
def test_what_lists_its_values_allows_these(annotation: Any) -> None:
    """Literals and enums of texts."""
    assert column(annotation).one_of == ("good", "bad")


def test_a_models_default_is_no_default_of_the_database() -> None:
    """The model writes its own; what the database would make cannot be known."""
    model = create_model("Model", status=(str, "new"))
    assert Schema.from_models({"things": model}).columns("things")["status"].default is None


class Lead(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    id: UUID | None = None
    first_name: str = Field(json_schema_extra={"pii": "name"})
    last_name: str = Field(serialization_alias="surname")
    cached: int = Field(0, exclude=True)


def test_a_column_has_the_name_under_which_the_field_is_written() -> None:
    """The alias for serialisation; what is not serialised is no column."""
    assert list(Schema.from_models({"leads": Lead}).columns("leads")) == ["id", "firstName", "surname"]


def test_a_field_is_tagged_as_personal_by_its_extra() -> None:
    """`json_schema_extra={"pii": …}` is where pydantic keeps what it does not know."""
    columns = Schema.from_models({"leads": Lead}).columns("leads")
    assert {name: column.pii for name, column in columns.items()} == {"id": None, "firstName": "name", "surname": None}


def test_id_is_the_primary_key_and_never_null() -> None:
    """A model's id is None before the row is written; the column's is not."""
    table = Schema.from_models({"leads": Lead}).tables["leads"]
    assert table.primary_key == ("id",)
    assert not table.columns["id"].nullable


class Outer(BaseModel):
    id: int
    inner: Part


def test_a_model_without_id_has_no_primary_key_unless_one_is_named() -> None:
    """`primary_keys` and `unique` say by table what models cannot."""
    assert Schema.from_models({"parts": Part}).tables["parts"].primary_key == ()
    named = Schema.from_models({"parts": Part}, primary_keys={"parts": ["a"]}, unique={"parts": [["a"]]})
    assert named.tables["parts"] == Table({"a": Column("bigint", nullable=False)}, ("a",), (("a",),))


def test_paths_are_added_by_table() -> None:
    """A model says that a column is JSON, not what is asked of it."""
    schema = Schema.from_models({"outer": Outer}, paths={"outer": ["inner->>a"]})
    assert schema.paths("outer") == ("inner->>a",)
    with pytest.raises(ConfigurationError, match="paths: no table 'out': did you mean 'outer'"):
        Schema.from_models({"outer": Outer}, paths={"out": ["inner->>a"]})


@pytest.mark.parametrize(
    ("models", "options", "problem"),
    [
        ({"leads": "Lead"}, {}, "'leads': a pydantic model class is needed"),
        ({"leads": dict}, {}, "'leads': a pydantic model class is needed"),
        ({"Leads": Lead}, {}, "'Leads' is no name of a table"),
        ({"leads": Lead}, {"primary_keys": {"lead": ["id"]}}, "primary_keys: no table 'lead': did you mean 'leads'?"),
        ({"leads": Lead}, {"unique": {"leads": [["emial"]]}}, "leads: unique: no column 'emial'"),
        ({"leads": Lead}, {"primary_keys": {"leads": "id"}}, "leads: primary_key is a list"),
    ],
    ids=shown,
)
def test_a_mistake_is_refused_with_its_table(models: Any, options: dict[str, Any], problem: str) -> None:
    """The error is the package's own."""
    with pytest.raises(ConfigurationError) as caught:
        Schema.from_models(models, **options)
    assert problem in str(caught.value)

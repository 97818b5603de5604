"""Schemas from pydantic models."""

# ruff: noqa: PYI030, PYI061  models are written in these forms too

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional
from uuid import UUID

import pydantic
import pydantic.networks
import pydantic.types
import pytest
from pydantic import BaseModel, ConfigDict, EmailStr, Field, PlainSerializer, SecretStr, create_model
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema
from typing_extensions import TypedDict

from agent_persistence import ConfigurationError, InMemoryAdapter, Schema, create_persistence_agent
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


PYDANTICS: dict[str, tuple[str, ...]] = {
    "text": (
        *("StrictStr", "SecretStr", "PaymentCardNumber", "Base64Str", "Base64UrlStr", "EmailStr", "NameEmail"),
        *("FilePath", "DirectoryPath", "NewPath", "SocketPath"),
        *("AnyUrl", "AnyHttpUrl", "FileUrl", "FtpUrl", "HttpUrl", "WebsocketUrl", "AnyWebsocketUrl", "PostgresDsn"),
        *("CockroachDsn", "AmqpDsn", "RedisDsn", "MongoDsn", "KafkaDsn", "NatsDsn", "MySQLDsn", "MariaDBDsn"),
        *("ClickHouseDsn", "SnowflakeDsn", "ImportString"),
    ),
    "bigint": ("PositiveInt", "NegativeInt", "NonNegativeInt", "NonPositiveInt", "StrictInt", "ByteSize"),
    "double precision": (
        *("PositiveFloat", "NegativeFloat", "NonNegativeFloat", "NonPositiveFloat", "FiniteFloat", "StrictFloat"),
    ),
    "boolean": ("StrictBool",),
    "uuid": ("UUID1", "UUID3", "UUID4", "UUID5", "UUID6", "UUID7", "UUID8"),
    "date": ("PastDate", "FutureDate"),
    "timestamptz": ("PastDatetime", "FutureDatetime", "AwareDatetime"),
    "timestamp": ("NaiveDatetime",),
    "bytea": ("StrictBytes", "SecretBytes", "Base64Bytes", "Base64UrlBytes"),
    "inet": ("IPvAnyAddress", "IPvAnyInterface"),
    "cidr": ("IPvAnyNetwork",),
    "jsonb": ("Json", "JsonValue"),
}
NO_TYPES = {
    *("Strict", "AllowInfNan", "EncoderProtocol", "EncodedBytes", "EncodedStr", "Base64Encoder", "GetPydanticSchema"),
    *("StringConstraints", "Tag", "Discriminator", "OnErrorOmit", "FailFast", "UrlConstraints", "validate_email"),
    *(
        "conbytes",
        "conlist",
        "conset",
        "confrozenset",
        "constr",
        "conint",
        "confloat",
        "condecimal",
        "condate",
        "Secret",
    ),
}
"""What `pydantic.types` and `pydantic.networks` hold that is no annotation by itself."""


def test_every_type_of_pydantics_has_its_place() -> None:
    """A type that a later pydantic adds has to be told here."""
    known = {name for names in PYDANTICS.values() for name in names}
    assert {*pydantic.types.__all__, *pydantic.networks.__all__} == known | NO_TYPES


@pytest.mark.parametrize(
    ("type_name", "name"), [(type_name, name) for type_name, names in PYDANTICS.items() for name in names]
)
def test_a_type_of_pydantics_has_a_type_of_postgresqls(type_name: str, name: str) -> None:
    """By itself, where it may be None, constrained, and as the item of a list."""
    annotation = getattr(pydantic, name, None) or getattr(pydantic.networks, name)
    assert column(annotation) == Column(type_name, nullable=False)
    assert column(Optional[annotation]) == Column(type_name)  # noqa: UP045
    assert column(Annotated[annotation, Field(description="d")]).type == type_name
    assert column(GenericAlias(list, (annotation,))).type == (type_name if type_name == "jsonb" else f"{type_name}[]")


class Pair(NamedTuple):
    a: int
    b: str


class Colour:
    """A type of somebody's, which pydantic knows by its own word."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(lambda value: value, core_schema.str_schema())


class MaybeMood(Enum):
    GOOD = "good"
    NONE = None


@pytest.mark.parametrize(
    ("annotation", "type_name"),
    [
        (IPv4Address, "inet"),
        (IPv6Address | None, "inet"),
        (IPv4Address | IPv6Address, "inet"),
        (IPv6Interface, "inet"),
        (IPv4Network, "cidr"),
        (Path, "text"),
        (re.Pattern[str], "text"),
        (Colour, "text"),
        (pydantic.Secret[int], "bigint"),
        (pydantic.conint(gt=0), "bigint"),
        (pydantic.constr(max_length=3), "text"),
        (pydantic.condecimal(max_digits=3), "numeric"),
        (pydantic.conlist(int, max_length=3), "bigint[]"),
        (pydantic.Json[list[int]], "bigint[]"),
        (Pair, "jsonb"),
        (Part | Data, "jsonb"),
        (list[Part | Data], "jsonb"),
        (list[Literal["a", None]], "text[]"),
        (Literal["a"] | Literal["b"], "text"),
        (Literal[True], "boolean"),
        (Literal[1, None], "bigint"),
        (Literal[None], "any"),
        (Annotated[int, PlainSerializer(str, return_type=str)], "text"),
        (Annotated[int, PlainSerializer(str, return_type=str)] | None, "text"),
        (Annotated[int, PlainSerializer(lambda value: value)], "any"),
        (Annotated[datetime, PlainSerializer(str, return_type=str, when_used="json")], "timestamptz"),
        (Callable[[], int], "any"),
        (type[int], "any"),
    ],
    ids=shown,
)
def test_a_field_of_a_richer_annotation_has_the_type_of_what_is_written(annotation: Any, type_name: str) -> None:
    """The common type of what it may be, and what a serializer says that it writes."""
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
        (Literal["gold", None], True),
        (MaybeMood, True),
        (Mood, False),
        (Annotated[Optional[IPv4Address], Field(description="d")], True),  # noqa: UP045
    ],
    ids=shown,
)
def test_a_field_that_may_be_none_is_nullable(annotation: Any, nullable: bool) -> None:
    """And no other is."""
    assert column(annotation).nullable is nullable


@pytest.mark.parametrize(
    "annotation",
    [
        Literal["good", "bad"],
        Mood,
        Mood | None,
        Literal[Mood.GOOD, Mood.BAD],
        Literal["good", None, "bad"],
        Literal["good"] | Literal["bad"] | None,
        Annotated[Mood, Field(description="d")],
    ],
    ids=shown,
)
def test_what_lists_its_values_allows_these(annotation: Any) -> None:
    """Literals and enums of texts."""
    assert column(annotation).one_of == ("good", "bad")


def test_none_is_no_value_that_a_column_lists() -> None:
    """NULL passes every check; a column of it and one text lists the text."""
    assert column(Literal["gold", None]) == Column("text", one_of=("gold",))
    assert column(MaybeMood) == Column("text", one_of=("good",))
    assert column(Literal["gold"] | int).one_of == ()


class Visit(BaseModel):
    id: int
    page: pydantic.HttpUrl
    address: IPv4Address
    network: pydantic.IPvAnyNetwork
    file: Path
    seen: pydantic.AwareDatetime
    local: pydantic.NaiveDatetime
    day: pydantic.PastDate
    at: time
    level: Literal["gold", None]
    ratio: pydantic.FiniteFloat
    token: bytes


@pytest.mark.asyncio
async def test_a_model_is_written_into_the_table_that_is_made_of_it() -> None:
    """Each value is one of its column's type; what comes back makes an equal model."""
    schema = Schema.from_models({"visits": Visit})
    row: Any = {"id": 1, "page": "https://x.example/a", "address": "10.0.0.1", "network": "10.0.0.0/8", "file": "/a/b"}
    row |= {"seen": "2026-01-02T03:04:05+02:00", "local": "2026-01-02T03:04:05", "day": "2020-01-02", "at": "10:00"}
    visit = Visit(**row, level=None, ratio=0.5, token=b"ab")
    store = InMemoryAdapter(schema=schema)
    async with create_persistence_agent(adapter=store, schema=schema, tables=["visits"]) as agent:
        written = await agent.write("visits", visit)
    assert written["token"] == "\\x6162"
    assert Visit.model_validate(written | {"token": b"ab"}) == visit


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
        ({"": Lead}, {}, "'' is no name of a table"),
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

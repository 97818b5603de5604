"""Records: what callers hand in, and the JSON form in which everything below sees it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, Field, HttpUrl, SecretStr

from agent_persistence import NULL, ValidationError
from agent_persistence.query.records import (
    MAX_DEPTH,
    as_mapping,
    encode_record,
    encode_value,
    exact_integer,
    exact_number,
    strip_none,
)
from tests.doubles import shown


class Stage(Enum):
    WON = "won"


class Text(StrEnum):
    WON = "won"


class Step(IntEnum):
    ONE = 1


class Address(BaseModel):
    town: str


class Lead(BaseModel):
    email: str
    first_name: str | None = None
    address: Address | None = None
    kind: str = Field(default="x", alias="type")


class Wrapped(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("ß漢字🚀\n", "ß漢字🚀\n"),
        (Wrapped("text"), "text"),
        (-7, -7),
        (True, True),
        (0.25, 0.25),
        (None, None),
        (NULL, None),
        (Stage.WON, "won"),
        (Text.WON, "won"),
        (Step.ONE, 1),
        (Decimal("12.50"), "12.50"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (timedelta(minutes=1, microseconds=500_000), "PT60.500000S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (HttpUrl("https://x.example/ü"), "https://x.example/%C3%BC"),
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
        (IPv4Interface("10.0.0.1/8"), "10.0.0.1/8"),
        (IPv6Network("fe80::/10"), "fe80::/10"),
        (PurePosixPath("/a/ü"), "/a/ü"),
        (b"\x00\xff", "\\x00ff"),
        (bytearray(b"a"), "\\x61"),
        ((1, [2, {"k": (3,)}]), [1, [2, {"k": [3]}]]),
        (Address(town="Genève"), {"town": "Genève"}),
        ({"nested": None}, {"nested": None}),
    ],
    ids=shown,
)
def test_every_kind_of_value_has_one_json_form(value: object, encoded: object) -> None:
    """Values of the types that PostgreSQL knows, enums and models become plain JSON values."""
    got = encode_value("leads", value, "v")
    assert (got, type(got)) == (encoded, type(encoded))


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (object(), "custom", "object has no JSON form"),
        ({"a": [1, {"b": {1, 2}}]}, "custom.a[1].b", "set has no JSON form"),
        (float("nan"), "custom", "not a JSON number"),
        ([float("inf")], "custom[0]", "not a JSON number"),
        (Decimal("NaN"), "custom", "not a JSON number"),
        ({1: "x"}, "custom", "keys of a JSON object are strings, not int"),
        ("a\0b", "custom", "NUL"),
        ({"a\0b": 1}, "custom", "NUL"),
        ("\ud800", "custom", "lone surrogate"),
        (PurePosixPath("/a\udcff"), "custom", "surrogate"),
        (SecretStr("sb_secret_x"), "custom", "SecretStr has no JSON form"),
    ],
    ids=shown,
)
def test_a_value_without_json_form_is_named_by_its_path(value: object, path: str, reason: str) -> None:
    """The error says where in the record the value stands and what is wrong, not what the value is."""
    with pytest.raises(ValidationError) as caught:
        encode_record("leads", {"email": "a@a.example", "custom": value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}")
    assert reason in problem
    assert "sb_secret_x" not in str(caught.value)


def test_all_problems_of_a_record_are_told_at_once() -> None:
    """A caller need not fix a record value by value."""
    with pytest.raises(ValidationError) as caught:
        encode_record("leads", {"a": object(), "b": 1, "c": float("nan")})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["a", "c"]


def test_a_record_that_refers_to_itself_is_refused() -> None:
    """Nesting has a limit, so that a cycle ends in a ValidationError and not in a crash."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValidationError, match=f"nested deeper than {MAX_DEPTH} levels"):
        encode_record("leads", {"custom": cycle})


def test_nesting_up_to_the_limit_is_kept() -> None:
    """Control of the rule above: what is below the limit passes."""
    value: Any = "core"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert encode_record("leads", {"custom": value}) == {"custom": value}


@pytest.mark.parametrize("record", [None, 5, "text", b"x", [("email", "a")], {"email"}, object()], ids=shown)
def test_a_record_is_a_mapping_or_a_model(record: object) -> None:
    """Anything else is refused with the name of its type."""
    with pytest.raises(ValidationError, match=f"not {type(record).__name__}"):
        as_mapping("leads", record)


def test_a_model_gives_its_fields_under_their_aliases() -> None:
    """A pydantic model is written as its dump by alias; unset optional fields are None and so not given."""
    lead = Lead(email="a@a.example", address=Address(town="Basel"), type="lead")
    record = strip_none(as_mapping("leads", lead))
    assert encode_record("leads", record) == {
        "email": "a@a.example",
        "address": {"town": "Basel"},
        "type": "lead",
    }


def test_none_is_stripped_at_the_top_only_and_null_never() -> None:
    """None means not given; a None inside a JSON value is a JSON null; NULL is an explicit null."""
    record = strip_none({"a": None, "b": NULL, "c": {"d": None}, "e": 0, "f": ""})
    assert encode_record("leads", record) == {"b": None, "c": {"d": None}, "e": 0, "f": ""}


@pytest.mark.parametrize("record", [{}, {"email": None}], ids=shown)
def test_a_record_without_values_is_refused(record: dict[str, Any]) -> None:
    """An empty row is almost always a mistake; the message tells None from NULL."""
    with pytest.raises(ValidationError, match="NULL writes an explicit null"):
        encode_record("leads", strip_none(record))


def test_a_record_is_copied() -> None:
    """What the caller does to a record afterwards changes nothing."""
    tags = ["a"]
    record = {"tags": tags}
    encoded = encode_record("leads", record)
    tags.append("b")
    assert encoded == {"tags": ["a"]}


def test_null_reads_as_null() -> None:
    """NULL tells its name, also in a caller's log."""
    assert repr(NULL) == "NULL"


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_json_is_its_own_json_form(value: object) -> None:
    """Encoding changes nothing in a value that is JSON already."""
    encoded = encode_value("leads", value, "v")
    assert encoded == value
    assert json.loads(json.dumps(encoded)) == value


def test_a_number_too_long_to_print_is_refused() -> None:
    """Python refuses to print an int of more than 4300 digits, so that it has no JSON form."""
    with pytest.raises(ValidationError):
        encode_record("leads", {"score": 10**5000})


def test_a_key_in_a_message_cannot_forge_a_line_of_a_log() -> None:
    """Names from untrusted callers are quoted and cut where they enter a message."""
    with pytest.raises(ValidationError) as caught:
        encode_record("leads", {"x\n[persistence] op=write" + "x" * 500: object()})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    ["0.1", "1.50", "-0.0", "0.30000000000000004", "5e-324", "1e23", "123456789012345.0", "1" + "0" * 300 + ".0"],
)
def test_a_number_that_a_float_prints_back_is_a_float(text: str) -> None:
    """Also one of 17 digits, such as PostgreSQL prints for double precision."""
    assert (exact_number(text), type(exact_number(text))) == (float(text), float)


@pytest.mark.parametrize(
    "text",
    [
        "0.1234567890123456789",
        "123456789012345678901234567890.5",
        "9007199254740993.0",
        "1e400",
        "-1e-400",
        f"{'9' * 131_072}.{'9' * 16_383}",
    ],
    ids=shown,
)
def test_a_number_that_no_float_holds_is_a_decimal_of_all_its_digits(text: str) -> None:
    """Up to the longest numeric that PostgreSQL has."""
    assert (exact_number(text), type(exact_number(text))) == (Decimal(text), Decimal)


def test_an_exponent_beyond_decimals_own_is_infinite() -> None:
    """Only a json column, which keeps its text, can hold such a number."""
    assert exact_number("1e9999999999999999999") == float("inf")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_told_exactly(value: float) -> None:
    """As a float, by the digits that it prints."""
    assert type(exact_number(repr(value))) is float
    assert repr(exact_number(repr(value))) == repr(value)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_every_decimal_is_told_exactly(value: Decimal) -> None:
    """By a number whose own digits have the same value."""
    assert Decimal(str(exact_number(str(value)))) == value


def test_an_integer_longer_than_python_reads_is_a_decimal() -> None:
    """Of more than 4,300 digits by default; numeric may have 131,072."""
    assert type(exact_integer("9" * 4300)) is int
    assert exact_integer("9" * 131_072) == Decimal("9" * 131_072)


def test_a_decimal_of_a_row_is_written_back_with_all_its_digits() -> None:
    """As text, which PostgreSQL reads as numeric."""
    exact = exact_number("0.1234567890123456789")
    assert encode_record("leads", {"score": exact}) == {"score": "0.1234567890123456789"}

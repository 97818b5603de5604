"""Texts as values of PostgreSQL's types."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agent_persistence import NULL
from agent_persistence.bulk.converting import converter, strict_json


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        ("integer", "42", 42),
        ("integer", " -7 ", -7),
        ("int4", "+7", 7),
        ("integer", "12.0", 12),
        ("bigint", "-3.", -3),
        ("bigint", "9223372036854775807", 9223372036854775807),
        ("smallint", "-32768", -32768),
        ("numeric", "0.5", 0.5),
        ("numeric", "-12.25", -12.25),
        ("numeric(12,2)", "1.50", "1.50"),
        ("numeric", "12345678901234567890.123", "12345678901234567890.123"),
        ("numeric", "7", 7),
        ("numeric", "007", "007"),
        ("numeric", "NaN", "NaN"),
        ("double precision", "-Infinity", "-Infinity"),
        ("real", "1e5", "1e5"),
        ("boolean", "t", True),
        ("boolean", " YES ", True),
        ("bool", "1", True),
        ("boolean", "of", False),
        ("boolean", "FALSE", False),
        ("jsonb", '{"a": [1, null]}', {"a": [1, None]}),
        ("json", '"text"', "text"),
        ("jsonb", "null", NULL),
        ("text[]", '{a,"b c",NULL}', ["a", "b c", None]),
        ("text[]", "{}", []),
        ("integer[]", "{1,-2}", [1, -2]),
        ("_bool", "{t,f}", [True, False]),
        ("text[]", "{{a},{b}}", "{{a},{b}}"),
        ("text[]", '["a", "b c"]', ["a", "b c"]),
        ("int4[]", "[0:1]={1,2}", "[0:1]={1,2}"),
        ("uuid", "0190A0B0-0000-7000-8000-00000000000A", "0190a0b0-0000-7000-8000-00000000000a"),
        ("uuid", "{0190a0b0000070008000000000000000}", "{0190a0b0000070008000000000000000}"),
        ("date", "2026-01-31", "2026-01-31"),
        ("timestamptz", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("timestamp with time zone", "2026-01-31 12:00:00+00", "2026-01-31 12:00:00+00"),
        ("timestamp", "infinity", "infinity"),
    ],
)
def test_a_text_becomes_a_value_of_its_type(type_name: str, text: str, value: Any) -> None:
    """A number becomes a JSON number only if that is spelled the same, so that no digit is lost."""
    convert = converter(type_name)
    assert convert is not None
    converted = convert(text)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize("type_name", ["text", "varchar(20)", "interval", "bytea", "my_enum", "inet"])
def test_a_text_stays_one_where_the_server_reads_it(type_name: str) -> None:
    """The values of other types are its to judge."""
    assert converter(type_name) is None


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("integer", "1.5"),
        ("integer", ""),
        ("integer", "1_000"),
        ("integer", "٤٢"),
        ("integer", "2147483648"),
        ("smallint", "-32769"),
        ("bigint", "9223372036854775808"),
        ("bigint", "9" * 5000),
        ("numeric", "1,5"),
        ("numeric", "1_0"),
        ("numeric", "0x1F"),
        ("numeric", ""),
        ("boolean", "2"),
        ("boolean", "o"),
        ("boolean", ""),
        ("jsonb", "{a: 1}"),
        ("jsonb", '{"a": 1, "a": 2}'),
        ("jsonb", "[NaN]"),
        ("jsonb", "12345678901234567.891"),
        ("jsonb", '{"a": [12345678901234567.891]}'),
        ("jsonb", ""),
        ("text[]", "x,y"),
        ("text[]", "{x"),
        ("text[]", '["x"'),
        ("integer[]", "{1,x}"),
        ("uuid", "not-a-uuid"),
        ("date", "31.01.2026"),
        ("timestamptz", "01/02/2026 12:00"),
        ("timestamptz", ""),
    ],
)
def test_a_text_that_is_no_value_is_refused(type_name: str, text: str) -> None:
    """With the reason, which does not repeat it: it may be secret."""
    convert = converter(type_name)
    assert convert is not None
    with pytest.raises(ValueError, match=r".") as refused:
        convert(text)
    assert len(text) < 3 or text not in str(refused.value)


def test_json_keeps_its_digits() -> None:
    """A number that no float holds is a Decimal."""
    assert strict_json("[0.1, 12345678901234567.891]") == [0.1, Decimal("12345678901234567.891")]


@pytest.mark.parametrize("text", ["[" * 100_000, "[1", "{'a': 1}", "Infinity", '{"a": {"b": 1, "b": 2}}'])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Nested too deeply to be read, too."""
    with pytest.raises(ValueError, match=r"JSON|twice"):
        strict_json(text)


WORDS = ["now", "today", "tomorrow", "yesterday", "allballs", " NOW ", "Today 10:00", "now()"]
TIME_TYPES = ["date", "timestamp", "timestamp(3) with time zone", "timestamptz", "time", "time without time zone"]
TIME_TYPES += ["timetz", "timestamptz[]", "_date", "tstzrange", "daterange", "tsmultirange"]


@pytest.mark.parametrize("type_name", TIME_TYPES)
@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_means_another_time_each_day_is_no_value_of_a_time(type_name: str, word: str) -> None:
    """An import that runs tomorrow would store something else; within arrays and ranges too."""
    convert = converter(type_name)
    text = f"[{word},)" if "range" in type_name else f"{{{word}}}" if "[" in type_name or "_" in type_name else word
    assert convert is not None
    with pytest.raises(ValueError):
        convert(text)


@pytest.mark.parametrize("text", ["infinity", "-infinity", "epoch", "Infinity"])
@pytest.mark.parametrize("type_name", ["date", "timestamp", "timestamptz"])
def test_a_word_that_always_means_the_same_time_is_one(type_name: str, text: str) -> None:
    """Control: infinity and epoch are constants."""
    convert = converter(type_name)
    assert convert is not None
    assert convert(text) == text


@pytest.mark.parametrize(("type_name", "text"), [("time", "24:00:00"), ("tsrange", "[2026-01-01,infinity)")])
def test_other_texts_of_times_are_the_server_s_to_read(type_name: str, text: str) -> None:
    """Control: what is in no ISO form of a date is not refused for that."""
    convert = converter(type_name)
    assert convert is not None
    assert convert(text) == text

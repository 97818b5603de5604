"""Keys made before a row is sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from agent_persistence import ConfigurationError, Schema
from agent_persistence.schema.client_keys import ClientKeys, uuid7
from agent_persistence.schema_registry import Column, Table
from tests.doubles import shown

SCHEMA = Schema(
    {
        "leads": Table({"id": Column("uuid"), "email": Column("text")}, unique=(("email",),)),
        "messages": Table({"id": Column("int8")}),
        "links": Table({"a": Column("uuid"), "b": Column("uuid")}, ("a", "b")),
        "by_code": Table({"code": Column("uuid"), "id": Column("int8")}, ("code",)),
    }
)


def completed(keys: ClientKeys, table: Any, record: dict[str, Any], on_conflict: tuple[str, ...] = ()) -> Any:
    """What `complete` says, and the columns that the record has then."""
    return keys.complete(table, record, on_conflict), sorted(record)


def test_a_uuid_of_version_7_is_laid_out_as_the_rfc_says() -> None:
    """The example of RFC 9562, appendix A.6, whose 0xCC3 is the fraction of the millisecond here."""
    made = uuid7(
        lambda: 0x017F22E279B0 * 1_000_000 + 797_608, lambda size: bytes.fromhex("63 13 70 30 30 1C E6 3C")[:size]
    )
    assert made == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    assert (UUID(made).version, UUID(made).variant) == (7, "specified in RFC 4122")


def test_later_keys_sort_later() -> None:
    """Also within a millisecond, down to the resolution of 12 bits, whatever the random bits are."""
    start = 1_790_000_000_000_000_000
    made = [uuid7(lambda step=step: start + step * 245, lambda size: b"\xff" * size) for step in range(10_000)]  # type: ignore[misc]
    assert made == sorted(set(made))


def test_keys_do_not_repeat() -> None:
    """62 bits are random, also in the same nanosecond."""
    assert len({uuid7(lambda: 0) for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    ("table", "record", "on_conflict", "result"),
    [
        ("leads", {"email": "a"}, (), ("id", ["email", "id"])),
        ("leads", {"email": "a"}, ("id",), ("id", ["email", "id"])),
        ("leads", {"email": "a"}, ("email",), (None, ["email"])),
        ("leads", {"id": "mine"}, (), (None, ["id"])),
        ("leads", {"id": None}, (), (None, ["id"])),
        ("by_code", {"id": 1}, (), ("code", ["code", "id"])),
        ("messages", {"role": "user"}, (), (None, ["role"])),
        ("links", {"a": "x"}, (), (None, ["a"])),
        ("unknown", {"x": 1}, (), (None, ["x"])),
        (["leads"], {"x": 1}, (), (None, ["x"])),
    ],
    ids=shown,
)
def test_a_record_gets_a_key_where_the_declared_one_is_a_single_uuid(
    table: Any, record: dict[str, Any], on_conflict: tuple[str, ...], result: object
) -> None:
    """Never a second one, and none where the row that is there is to keep its own."""
    assert completed(ClientKeys(SCHEMA), table, record, on_conflict) == result


@pytest.mark.parametrize(
    ("columns", "result"),
    [
        ({"unknown": "uid"}, [["id"], ["uid", "x"]]),
        ({"leads": None}, [[], ["x"]]),
        ({"leads": "token"}, [["token"], ["x"]]),
        (False, [[], ["x"]]),
        ({}, [["id"], ["x"]]),
    ],
    ids=shown,
)
def test_what_the_caller_says_beats_the_schema(columns: Any, result: list[list[str]]) -> None:
    """Another column, none for a table, or none at all."""
    keys = ClientKeys(SCHEMA, columns)
    assert [completed(keys, "leads", {})[1], completed(keys, "unknown", {"x": 1})[1]] == result


def test_the_sets_that_are_unique_begin_with_the_key() -> None:
    """A column that the caller named comes first; of an undeclared table nothing is known."""
    keys = ClientKeys(SCHEMA, {"unknown": "uid"})
    assert keys.unique("leads") == (("id",), ("id",), ("email",))
    assert keys.unique("links") == (("a", "b"),)
    assert (keys.unique("unknown"), keys.primary("unknown")) == ((("uid",),), ("uid",))
    assert (keys.unique("other"), keys.primary("other")) == ((), ("id",))


@pytest.mark.parametrize("columns", [True, "id", ["leads"], {"": "id"}, {"leads": "i\0d"}, {"leads": 5}], ids=shown)
def test_what_is_no_mapping_of_names_is_refused(columns: Any) -> None:
    """At construction, with the form that is meant."""
    with pytest.raises(ConfigurationError, match="client_keys"):
        ClientKeys(SCHEMA, columns)

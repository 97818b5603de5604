"""What is written to the file is read back as the same operation, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import SecretStr

from agent_persistence import SpoolError
from agent_persistence.backends.units import digest_of
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Delete,
    Require,
    Unit,
    UnitPart,
    Update,
    Upsert,
    UpsertMany,
    Write,
)
from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.query.filters import any_of, contains, gte, in_, is_null, not_, parse_filters, text_search
from agent_persistence.query.predicates import Filter, comparisons
from agent_persistence.query.references import Reference
from agent_persistence.spool.entry import Entry, Kept, filter_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["id", "email", "score", "custom", "from", "$ref", "value"])
RECORDS = st.dictionaries(NAMES, JSON, min_size=1, max_size=4)
REFERENCES = st.builds(Reference, st.integers(0, 3), st.integers(0, 3), NAMES)
REFERRING = st.dictionaries(NAMES, JSON | REFERENCES, min_size=1, max_size=4)
COLUMNS = st.none() | st.lists(NAMES, max_size=2).map(tuple)
CONDITIONS: list[Any] = [
    {"score": gte(0.5), "status": in_(["new", 1, True]), "deleted_at": None},
    any_of({"status": "new"}, not_({"score": gte(1)})),
    {"tags": contains(["a"]), "custom": contains({"a": [1, None]})},
    {"notes": text_search("one two", config="simple"), "phone": is_null()},
    {"status": in_([])},
]
FILTERS = st.sampled_from(CONDITIONS).map(lambda given: parse_filters("leads", given))
KEYS = st.none() | st.just("id")
WRITES = st.builds(Write, st.just("leads"), REFERRING, generated_key=KEYS, returning=COLUMNS)
BATCHES = st.builds(
    BatchWrite, st.just("leads"), st.lists(REFERRING, min_size=1, max_size=3).map(tuple), generated_key=KEYS
)
PARTS = (
    WRITES
    | BATCHES
    | st.builds(Upsert, st.just("leads"), REFERRING, on_conflict=st.just(("email",)), referred=st.just(("id",)))
    | st.builds(UpsertMany, st.just("leads"), st.lists(RECORDS, min_size=1).map(tuple), on_conflict=st.just(("email",)))
    | st.builds(Update, st.just("leads"), RECORDS, FILTERS, max_affected=st.none() | st.just(3))
    | st.builds(Delete, st.just("messages"), FILTERS, returning=COLUMNS)
    | st.builds(Require, st.just("clients"), st.none() | FILTERS, lock=st.booleans())
)
UNITS = st.builds(
    lambda parts, key: Unit(", ".join(dict.fromkeys(part.operation.table for part in parts)), tuple(parts), key),
    st.lists(st.builds(UnitPart, PARTS, st.none() | st.integers(0, 3)), min_size=1, max_size=4),
    st.uuids().map(str),
)


def returned(entry: Entry) -> Entry:
    return Entry.from_json(entry.to_json(), resent=entry.resent)


@settings(max_examples=300)
@given(WRITES | BATCHES | UNITS, st.booleans())
def test_an_operation_comes_back_as_it_went(operation: Kept, resent: bool) -> None:
    """With values, references, filters and numbers of rows; an empty `returning` is one of nothing."""
    entry = returned(Entry.of(operation, OWN, resent=resent))
    assert entry.to_json() == Entry.of(operation, OWN, resent=resent).to_json()
    assert repr(entry.operation) == repr(operation)
    assert entry.operation == operation
    assert entry.resent is resent


@given(UNITS)
def test_the_ledger_knows_it_again(unit: Unit) -> None:
    """The digest is that of the unit that was kept: with another one the database would refuse it."""
    operation = returned(Entry.of(unit, OWN, resent=True)).operation
    assert isinstance(operation, Unit)
    assert digest_of(operation) == digest_of(unit)


@given(FILTERS, FILTERS)
def test_two_filters_have_one_text_only_if_they_are_equal(one: Filter, other: Filter) -> None:
    """1 and true, which Python takes for equal, are not."""
    assert (filter_text(one) == filter_text(other)) == (one == other)
    (leaf,) = comparisons(parse_filters("leads", {"status": 1}))
    assert filter_text(leaf) != filter_text(comparisons(parse_filters("leads", {"status": True}))[0])


def test_the_identity_is_named_and_no_token_is_written() -> None:
    """Claims and role come back as they were."""
    operation = Write("leads", {"email": "a@x.io"})
    user = Identity(role="r", claims=SecretStr('{"sub":"a"}'), access_token=SecretStr("SENTINELTOKEN"), actor="b")
    entry = Entry.of(operation, user, resent=False)
    assert "SENTINELTOKEN" not in entry.to_json()
    back = returned(entry)
    assert (back.own, back.role, back.claims, back.actor) == (False, "r", '{"sub":"a"}', "b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"actor": null, "verb": "call", "table": "f"}',
        '{"actor": null, "verb": "write", "table": "leads"}',
        '{"actor": null, "unit": {"key": "k", "parts": [{"verb": "write"}]}}',
        '{"actor": null, "verb": "delete", "table": "leads", "filters": {"is": "like sql", "column": "a", "value": 1}}',
    ],
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    """Nothing of it is guessed."""
    with pytest.raises(SpoolError, match="is none that this version writes"):
        Entry.from_json(text, resent=False)


@pytest.mark.parametrize(
    "operation", [BulkWrite("leads", ({"a": 1},)), Write("leads", {"a": object()}), Write("leads", {"a": float("nan")})]
)
def test_what_would_not_come_back_is_not_kept(operation: Kept) -> None:
    """An operation of another class, or a value that a middleware made."""
    with pytest.raises(SpoolError, match="no form in which it could be kept"):
        Entry.of(operation, OWN, resent=False).to_json()


def test_an_entry_is_plain_json() -> None:
    """For whoever reads the file without us."""
    told: Any = json.loads(Entry.of(Write("leads", {"email": "a@x.io"}), OWN, resent=False).to_json())
    assert told == {
        "actor": None,
        "verb": "write",
        "table": "leads",
        "records": [{"email": "a@x.io"}],
        "refer": [],
    }

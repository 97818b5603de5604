"""Where chunks are cut, and which keys their rows get."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from agent_persistence.bulk.chunks import Chunk, Chunker
from agent_persistence.bulk.keys import BLOCK_ROWS, named_keys, neighbours, row_keys
from agent_persistence.bulk.rows import Item, Row
from agent_persistence.bulk.values import Reject

KEYS = row_keys(b"seed", 1_700_000_000_000)


def key_of(number: int) -> str:
    return KEYS(number, {})


def row(number: int, size: int = 10, **record: Any) -> Row:
    return Row(number, record or {"email": f"u{number}"}, "", size)


def chunks(items: Sequence[Item], **options: Any) -> list[Chunk]:
    bounds = {"max_rows": 100, "max_bytes": 10_000, "key_column": None, "key": KEYS, **options}
    return list(Chunker(**bounds).cut(items))


def spans(found: list[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.first, chunk.end) for chunk in found]


def test_a_chunk_is_bounded_by_rows() -> None:
    """The last one holds what is left."""
    assert spans(chunks([row(n) for n in range(1, 6)], max_rows=2)) == [(0, 2), (2, 4), (4, 5)]


def test_a_chunk_is_bounded_by_bytes() -> None:
    """A row that alone exceeds the bound is a chunk of its own."""
    sizes = [40, 40, 40, 500, 40]
    found = chunks([row(n, size) for n, size in enumerate(sizes, 1)], max_bytes=100)
    assert spans(found) == [(0, 2), (2, 3), (3, 4), (4, 5)]


def test_rejects_count_and_keep_their_place() -> None:
    """Numbers are those of the records of the source, good and bad."""
    found = chunks([row(1), Reject(2, "bad"), row(3), row(4)], max_rows=2)
    assert spans(found) == [(0, 2), (2, 4)]
    assert [[reject.line for reject in chunk.rejects] for chunk in found] == [[2], []]


def test_lines_of_chunks_leave_nothing_out() -> None:
    """Each begins behind the last line of the one before."""
    found = chunks([row(2), row(5), row(6), row(9)], max_rows=2)
    assert [chunk.lines for chunk in found] == [(1, 5), (6, 9)]


def test_the_first_reject_ends_the_source_where_none_is_wanted() -> None:
    """The rows before it are in the last chunk, with it."""
    (only,) = chunks([row(1), Reject(2, "bad"), row(3)], stops=True)
    assert (only.first, only.end, len(only.records), len(only.rejects)) == (0, 2, 1, 1)


def test_rows_that_are_merged_have_the_same_columns() -> None:
    """Where they differ, a chunk ends; where rows are only inserted, none does."""
    mixed = [row(1, a=1), row(2, a=1, b=2), row(3, b=2, a=1)]
    assert spans(chunks(mixed, uniform=True)) == [(0, 1), (1, 3)]
    assert spans(chunks(mixed)) == [(0, 3)]


def test_what_an_earlier_run_has_done_is_left_out() -> None:
    """And what it may have sent is cut as it was then, whatever the bounds are now."""
    found = chunks([row(n) for n in range(1, 11)], done=3, planned=deque([(3, 7), (7, 8)]), max_rows=2)
    assert spans(found) == [(3, 7), (7, 8), (8, 10)]
    assert [chunk.resent for chunk in found] == [True, True, False]


def test_a_row_gets_the_key_of_its_number() -> None:
    """The same one in another run, with other chunks."""
    first = chunks([row(n) for n in range(1, 7)], key_column="id", max_rows=4)
    again = chunks([row(n) for n in range(1, 7)], key_column="id", max_rows=3, done=3)
    keys = [record["id"] for chunk in first for record in chunk.records]
    assert keys == [key_of(n) for n in range(6)]
    assert [record["id"] for chunk in again for record in chunk.records] == keys[3:]
    assert all(chunk.has_made_keys for chunk in first)


def test_a_row_keeps_a_key_of_its_own() -> None:
    """A chunk with one such row is none of which all keys were made here."""
    given = chunks([row(1, id="mine"), row(2), row(3), row(4)], key_column="id", max_rows=2)
    assert given[0].records[0]["id"] == "mine"
    assert [chunk.has_made_keys for chunk in given] == [False, True]


@pytest.mark.parametrize("number", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, 10**6, 2**33])
def test_keys_are_uuids_of_version_7_in_ascending_order(number: int) -> None:
    """By version and variant of RFC 9562; the time in front is the import's."""
    key = UUID(key_of(number))
    assert (key.version, key.variant) == (7, "specified in RFC 4122")
    assert key.int >> 80 == 1_700_000_000_000
    assert str(key) == key_of(number) < key_of(number + 1)


def test_keys_are_unlike_each_other() -> None:
    """Within one import, and in two of them."""
    other = row_keys(b"another seed", 1_700_000_000_000)
    made = {key_of(n) for n in range(5000)} | {other(n, {}) for n in range(5000)}
    assert len(made) == 10_000


@pytest.mark.parametrize("number", [0, 1, 255, 256, 10**6, 2**33])
def test_keys_by_name_are_uuids_of_version_8_in_ascending_order(number: int) -> None:
    """The same in every process; what a row holds is in its key, between those of its neighbours."""
    named = named_keys("leads 2026-11-29")
    key = UUID(named(number, {"a": 1, "b": 2}))
    assert (key.version, key.variant) == (8, "specified in RFC 4122")
    assert str(key) == named_keys("leads 2026-11-29")(number, {"b": 2, "a": 1})
    assert str(key) < named(number + 1, {})
    others = {named(number, {"a": 2, "b": 2}), named_keys("leads")(number, {"a": 1, "b": 2})}
    assert len({*others, str(key)}) == 3
    low, high = neighbours(str(key), str(key))
    assert low <= named(number, {"a": 2}) <= high < named(number + 1, {})

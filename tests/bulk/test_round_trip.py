"""Whatever texts a record holds, written by Python's csv module or as JSON they come back."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from hypothesis import given, strategies as st

from agent_persistence import NULL
from agent_persistence.bulk.columns import ImportTarget
from agent_persistence.bulk.csv_records import Dialect, csv_records
from agent_persistence.bulk.json_lines import JsonReader
from agent_persistence.bulk.lines import text_lines
from agent_persistence.bulk.rows import Row

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
AWKWARD = st.text(st.sampled_from('",;\r\n\\ a\u2028é'), max_size=8)
FIELDS = st.lists(TEXTS | AWKWARD, min_size=2, max_size=5)
BLOCKS = st.integers(1, 40)
DELIMITERS = st.sampled_from([",", ";", "\t", "|"])


def blocks(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


@given(st.lists(FIELDS, max_size=6), DELIMITERS, BLOCKS)
def test_quoted_texts_come_back(rows: list[list[str]], delimiter: str, size: int) -> None:
    """Wherever blocks are cut, and whatever the fields hold; the empty text is none that is missing."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    lines = text_lines(blocks(file.getvalue().encode(), size))
    assert [fields for _, _, fields, _ in csv_records(lines, Dialect(delimiter))] == rows


@given(st.lists(FIELDS, max_size=6), DELIMITERS, BLOCKS)
def test_texts_that_need_no_quotes_come_back(rows: list[list[str]], delimiter: str, size: int) -> None:
    """An empty field without quotes is NULL."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    lines = text_lines(blocks(file.getvalue().encode(), size))
    found = [fields for _, _, fields, _ in csv_records(lines, Dialect(delimiter))]
    assert found == [[field or None for field in row] for row in rows]


@given(st.lists(FIELDS, max_size=6), BLOCKS)
def test_lines_are_numbered_as_they_stand(rows: list[list[str]], size: int) -> None:
    """The line of a record is one more than the line ends before it."""
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    text = file.getvalue()
    records = list(csv_records(text_lines(blocks(text.encode(), size)), Dialect()))
    starts = [0]
    for _, raw, _, _ in records:
        starts.append(starts[-1] + len(raw) + 1)
    assert [line for line, *_ in records] == [text[:start].count("\n") + 1 for start in starts[: len(records)]]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1), max_size=5), BLOCKS)
def test_json_lines_come_back(records: list[dict[str, Any]], size: int) -> None:
    """With null as an explicit null."""
    raw = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    reader = JsonReader(text_lines(blocks(raw, size)), None, ImportTarget("t", {}, is_declared=False, writable=None))
    found = [item.record for item in reader if isinstance(item, Row)]
    assert found == [{k: NULL if v is None else v for k, v in record.items()} for record in records]

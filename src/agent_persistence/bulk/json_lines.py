"""Records of JSON lines: one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from agent_persistence.bulk.columns import REJECT_LINE, REJECT_REASON, REJECT_RECORD, Columns, ImportTarget, renamed
from agent_persistence.bulk.converting import TOO_EXACT, is_rounded, strict_json
from agent_persistence.bulk.lines import Unreadable
from agent_persistence.bulk.rows import Item, Items, Row
from agent_persistence.bulk.values import Reject
from agent_persistence.query.records import NULL
from agent_persistence.schema.registry import Column
from agent_persistence.schema.types import Family, family


class JsonReader:
    """The rows; null is SQL's NULL, and a column that an object does not name takes its default."""

    def __init__(self, lines: Iterable[str], columns: Columns, target: ImportTarget) -> None:
        self._lines = lines
        self._columns = columns
        self._target = target

    def __iter__(self) -> Items:
        for number, text in enumerate(self._lines, 1):
            if isinstance(text, Unreadable) or (text and not text.isspace()):
                yield _row(number, text, self._columns, self._target)

    def reject_head(self) -> str:
        return ""

    def reject_text(self, reject: Reject) -> str:
        return json_reject(reject)


_MARKED: Final = re.compile(rf'\{{"{REJECT_LINE}":\d+,"{REJECT_REASON}":"(?:[^"\\]|\\.)*"')


def json_reject(reject: Reject) -> str:
    """One line: an object as it stood in the source, with its line and the reason in front; else its text in one."""
    marks = f'{{"{REJECT_LINE}":{reject.line},"{REJECT_REASON}":{json.dumps(reject.reason)}'
    record = reject.record
    if not isinstance(record, str):
        record = json.dumps(record, default=str, ensure_ascii=False)
    text = record.strip()
    if _is_object(text):
        rest = _MARKED.sub("", text).removeprefix("{").lstrip(" ,")
        return f"{marks}{'' if rest.startswith('}') else ','}{rest}\n"
    return f'{marks},"{REJECT_RECORD}":{json.dumps(text)}}}\n'


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _row(number: int, text: str, columns: Columns, target: ImportTarget) -> Item:
    if isinstance(text, Unreadable):
        return Reject(number, text.problem, None, text)
    try:
        parsed = strict_json(text.strip())
    except ValueError as error:
        return Reject(number, f"the line {error}", None, text)
    if not isinstance(parsed, dict):
        return Reject(number, "the line is no JSON object", None, text)
    record = with_columns(parsed, columns, target)
    if not record:
        return Reject(number, "the object names no column", None, text)
    problem = target.moment_in(record)
    if problem is not None:
        return Reject(number, str(problem), problem.column, text)
    rounded = next((name for name, value in record.items() if _is_rounded(value, target.columns.get(name))), None)
    if rounded is not None:
        return Reject(number, f"{rounded} {TOO_EXACT}", rounded, text)
    return Row(number, {name: NULL if value is None else value for name, value in record.items()}, text, len(text))


def _is_rounded(value: Any, column: Column | None) -> bool:
    """Whether a number would arrive as another value; that of a number's column goes as a text, which keeps it."""
    if isinstance(value, Decimal):
        return column is None or family(column.type) is not Family.NUMBER
    return isinstance(value, (dict, list)) and is_rounded(value)


def with_columns(fields: dict[str, Any], columns: Columns, target: ImportTarget) -> dict[str, Any]:
    """The record under the names of the table's columns."""
    named = ((renamed(name, columns, target), value) for name, value in fields.items())
    return {name: value for name, value in named if name is not None}

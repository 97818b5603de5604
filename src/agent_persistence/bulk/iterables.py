"""Rows that Python code gives."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from agent_persistence.bulk.columns import Columns, ImportTarget
from agent_persistence.bulk.json_lines import json_reject, with_columns
from agent_persistence.bulk.rows import Item, Row
from agent_persistence.bulk.values import Reject
from agent_persistence.exceptions import ValidationError
from agent_persistence.query.records import as_mapping


class GivenReader:
    """Items as rows: mappings or pydantic models. None means not given, as in the verbs; `NULL` is null.

    With `only_set`, for rows that are merged, fields of a model that were not set are left out.
    """

    def __init__(self, columns: Columns, target: ImportTarget, *, only_set: bool = False) -> None:
        self._only_set = only_set
        self._columns = columns
        self._target = target
        self._number = 0

    def item(self, given: object) -> Item:
        """The next item's row."""
        self._number += 1
        try:
            fields = dict(as_mapping(self._target.table, given, "the item", only_set=self._only_set))
        except ValidationError as error:
            return Reject(self._number, "; ".join(error.problems), None, type(given).__name__)
        record = with_columns(fields, self._columns, self._target)
        if not record:
            return Reject(self._number, "the item names no column", None, fields)
        problem = self._target.moment_in(record)
        if problem is not None:
            return Reject(self._number, str(problem), problem.column, fields)
        return Row(self._number, record, fields, _size(record))

    def reject_head(self) -> str:
        return ""

    def reject_text(self, reject: Reject) -> str:
        return json_reject(reject)


def _size(record: dict[str, Any]) -> int:
    return len(to_json(record, serialize_unknown=True, inf_nan_mode="constants"))

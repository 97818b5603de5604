"""What an embedder is given of a row, and of a question: never more than a redaction leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agent_persistence.query.records import Row
from agent_persistence.redaction.labels import Labels
from agent_persistence.redaction.redacting import Redaction, Redactor

TextOf: TypeAlias = Callable[[str, Row], str]
"""Takes a table and a row of it, redacted if there is a redaction, and returns the text that stands for the row."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The row's texts of these columns, a line each, in this order."""

    columns: Sequence[str]

    def __call__(self, table: str, row: Row) -> str:
        texts = (row.get(column) for column in self.columns)
        return "\n".join(text for text in texts if isinstance(text, str) and text)


def text_of_row(table: str, row: Row, text_of: TextOf, redaction: Redaction | None) -> str:
    """The text of the row. Redacted row by row, so that it does not depend on the rows beside it."""
    return text_of(table, row if redaction is None else redaction.row(table, row))


def text_of_query(query: str, redaction: Redaction | None) -> str:
    """The question with the labels that rows have: `[EMAIL]`, without a number."""
    return query if redaction is None else Redactor(redaction, Labels(numbered=False)).text(query)

"""One call as one transaction: what is sent, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.exceptions import AdapterError

BEGIN: Final = Statement("begin")
COMMIT: Final = Statement("commit")
ROLLBACK: Final = Statement("rollback")


@dataclass(frozen=True, slots=True)
class Load:
    """Rows for COPY: `prepare` runs as the user who connected, before the role is taken on.

    Without it, the rows go into the table itself as the role.
    """

    copy: Statement
    chunks: Iterable[bytes] = field(repr=False)
    prepare: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """A statement for a table, for which `settings` hold, with what an error says of it."""

    verb: str
    table: str
    statement: Statement | None = field(default=None, repr=False)
    check: Statement | None = field(default=None, repr=False, kw_only=True)
    """What has to succeed first."""
    settings: Statement | None = field(default=None, repr=False)
    role: str | None = None
    writes: bool = False
    at_most: int | None = None
    """How many rows may be affected; more are rolled back."""
    load: Load | None = field(default=None, repr=False)
    error_texts: bool = False
    """Whether an error may repeat what the database's author wrote."""
    parts: tuple[Transaction, ...] = field(default=(), repr=False)
    """What is carried out in order in place of a statement, each with what an error says of it."""
    place: int | None = None
    """Which part of a unit of work this is, from 0."""
    refused: Callable[[str], AdapterError | None] | None = field(default=None, repr=False)
    """The error that a refusal with this message is, where the statement made it refuse."""

    def __str__(self) -> str:
        return f"{self.verb} on {self.table}:"

    def whole(self) -> list[Statement]:
        """All of it, where nothing is loaded: what begins and ends it stands around."""
        return [*self._settings(), *self._stated(), *(one for part in self.parts for one in part._stated())]

    def until_commit(self) -> list[Statement]:
        """All of it but COMMIT."""
        return [BEGIN, *self.whole()]

    def part_of(self, statement: Statement | None) -> Transaction:
        """The part that has the statement; this transaction itself where none has."""
        return next((part for part in self.parts if any(one is statement for one in part._stated())), self)

    def _stated(self) -> tuple[Statement, ...]:
        return (*_given(self.check), *_given(self.statement))

    def before_copy(self) -> list[Statement]:
        """What comes before the rows of a load: the role is taken on where they go into the table itself."""
        prepare = self.load.prepare if self.load else ()
        return [BEGIN, *(prepare or self._settings())]

    def after_copy(self) -> list[Statement]:
        """What brings the rows from where they were loaded into the table; nothing where they are there already."""
        is_staged = self.load is not None and self.load.prepare
        return [*self._settings(), *_given(self.statement)] if is_staged else []

    def _settings(self) -> tuple[Statement, ...]:
        return _given(self.settings)


def _given(statement: Statement | None) -> tuple[Statement, ...]:
    return () if statement is None else (statement,)


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What came of a transaction that was committed, or why it was not.

    `value` is its first column of its first row, `affected` the number of rows.
    """

    value: bytes | None = field(default=None, repr=False)
    affected: int = 0
    error: AdapterError | None = None
    parts: tuple[tuple[bytes | None, int], ...] = field(default=(), repr=False)
    """The same of each part."""

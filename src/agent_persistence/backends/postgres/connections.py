"""Connections to one PostgreSQL server, and the course of a transaction over one of them."""

from __future__ import annotations

from collections.abc import Sequence

from agent_persistence.backends.postgres.dsn import Server
from agent_persistence.backends.postgres.errors import Moment, Refusal, as_lost, as_refused, as_too_many, as_unset
from agent_persistence.backends.postgres.libpq import LostError, StatementResult, Wire
from agent_persistence.backends.postgres.preparing import Preparing
from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.backends.postgres.transactions import COMMIT, ROLLBACK, Load, Transaction, TransactionResult
from agent_persistence.backends.transport.connections import Connection, Lifetimes, Pool
from agent_persistence.exceptions import AdapterError, FailureState
from agent_persistence.runtime.attempts import connecting


class PostgresPool(Pool[Transaction, TransactionResult]):
    """Connections for one transaction at a time. Nothing that a session remembers is relied upon, or left behind."""

    def __init__(self, server: Server, *, size: int, lifetimes: Lifetimes, prepare: bool | None = None) -> None:
        super().__init__(size, lifetimes)
        self._server = server
        self._preparing = Preparing(prepare)

    def _new_connection(self) -> Connection[Transaction, TransactionResult]:
        return _Connection(self._server, self._preparing)

    def _is_writing(self, request: Transaction) -> bool:
        return request.writes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.place})"


class _RefusedError(Exception):
    def __init__(self, statement: Statement | None, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.statement = statement
        self.refusal = refusal


class _Connection:
    def __init__(self, server: Server, preparing: Preparing) -> None:
        self._server = server
        self._preparing = preparing
        self._wire: Wire | None = None
        self._broken = False

    async def exchange(self, transaction: Transaction, /) -> TransactionResult:
        """What came of the transaction: a refusal is an answer too, after which the connection is fit for the next."""
        if self._wire is None:
            with connecting():
                self._wire = await Wire.connected(self._server, self._preparing)
        course = _Course(self._wire, transaction, self._preparing)
        answer = await course.run()
        self._broken = course.broken
        return answer

    def is_spoilt(self) -> bool:
        return self._broken or self._wire is None or not self._wire.is_idle()

    def is_stale(self) -> bool:
        return self._wire is None or self._wire.is_stale()

    async def aclose(self) -> None:
        if self._wire is not None:
            self._wire.close()


class _Course:
    """One transaction on its way: `moment` is how far it has come."""

    def __init__(self, wire: Wire, transaction: Transaction, preparing: Preparing) -> None:
        self._wire = wire
        self._preparing = preparing
        self._transaction = transaction
        self._moment = Moment.RUNNING
        self.broken = False

    async def run(self) -> TransactionResult:
        try:
            return await self._committed()
        except _RefusedError as refused:
            error = self._as_error(refused)
        except AdapterError as refused:
            error = refused
        except LostError:
            self.broken = True
            return TransactionResult(error=as_lost(self._moment, self._transaction))
        await self._roll_back()
        return TransactionResult(error=error)

    async def _committed(self) -> TransactionResult:
        transaction = self._transaction
        if transaction.load is not None:
            result = await self._loaded(transaction.load)
        elif transaction.at_most is not None:
            result = await self._asked(transaction.until_commit())
            if result.affected > transaction.at_most:
                raise as_too_many(transaction)
        else:
            return await self._at_once()
        self._moment = Moment.COMMITTING
        await self._asked([COMMIT])
        return TransactionResult(result.value, result.affected)

    async def _at_once(self) -> TransactionResult:
        """In one round trip, without BEGIN and COMMIT: a segment of the pipeline is a transaction, which ends with it.

        https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
        """
        statements = self._transaction.whole()
        self._moment = Moment.SENT
        self._wire.send(statements)
        results = await self._heard_all(statements)
        parts = [one.statement for one in self._transaction.parts]
        return TransactionResult(
            results[-1].value,
            results[-1].affected,
            parts=tuple(
                (one.value, one.affected)
                for statement, one in zip(statements, results, strict=True)
                if parts and any(statement is part for part in parts)
            ),
        )

    async def _loaded(self, load: Load) -> StatementResult:
        transaction = self._transaction
        await self._asked(transaction.before_copy())
        copied = await self._copied(load)
        closing = transaction.after_copy()
        return await self._asked(closing) if closing else copied

    async def _copied(self, load: Load) -> StatementResult:
        result = await self._wire.copy(load.copy, load.chunks)
        if result.refusal:
            raise _RefusedError(load.copy, result.refusal)
        return result

    async def _asked(self, statements: Sequence[Statement]) -> StatementResult:
        self._wire.send(statements)
        return (await self._heard_all(statements))[-1]

    async def _heard_all(self, statements: Sequence[Statement]) -> list[StatementResult]:
        """What came of each of the statements. The server's last words before it went are an answer as well; a refusal
        behind the answers to all is that of the commit."""
        results: list[StatementResult] = []
        try:
            await self._wire.receive(results)
        except LostError:
            self.broken = True
            if not results or results[-1].refusal is None:
                raise
        for statement, one in zip((*statements, COMMIT), results, strict=False):
            if one.refusal is not None:
                if statement is COMMIT:
                    self._moment = Moment.COMMITTING
                raise _RefusedError(statement, one.refusal)
        return results

    async def _roll_back(self) -> None:
        """The transaction is over. One that cannot be ended leaves the connection broken."""
        try:
            if self._moment is Moment.RUNNING and not self.broken:
                self._wire.send([ROLLBACK])
                await self._wire.receive([])
        except LostError:
            self.broken = True

    def _as_error(self, refused: _RefusedError) -> AdapterError:
        error = self._error_of(refused)
        if self._is_of_preparing(refused):
            error.state = FailureState.RETRYABLE
        return error

    def _error_of(self, refused: _RefusedError) -> AdapterError:
        if refused.statement is self._transaction.settings:
            return as_unset(refused.refusal, self._transaction)
        part = self._transaction.part_of(refused.statement)
        meant = part.refused(refused.refusal.message) if part.refused else None
        error = meant or as_refused(refused.refusal, self._moment, part)
        error.part = part.place
        return error

    def _is_of_preparing(self, refused: _RefusedError) -> bool:
        """Whether the statement may be refused only because it was prepared; nothing of the transaction is applied."""
        statement = refused.statement
        if statement is None or not self._wire.prepares(statement):
            return False
        return self._preparing.learn(statement.text, refused.refusal.code)

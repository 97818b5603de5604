"""A connection by libpq: the only file that imports psycopg, of which it uses `pq`, the interface to libpq.

psycopg's own connections ask the server to stop when a task is cancelled, and wait for that; a wire that was cancelled
is closed at once. anyio waits for the socket, so that asyncio and trio both serve.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import psycopg
from psycopg import pq
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PollingStatus

from agent_persistence.backends.postgres.dsn import Server
from agent_persistence.backends.postgres.errors import Refusal, as_unreached
from agent_persistence.backends.postgres.preparing import PreparedStatements, Preparing
from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.backends.transport.connections import CONNECT_TIMEOUT_S, is_readable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult
    from pydantic import SecretStr


_WHO_ANSWERS: Final = Statement("select pg_backend_pid()::text")


class LostError(Exception):
    """The connection has ended."""


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What came of one statement: the first column of its first row, the number of rows, or the server's refusal."""

    value: bytes | None = field(default=None, repr=False)
    affected: int = 0
    refusal: Refusal | None = None


def parsed(dsn: str) -> dict[str, str] | None:
    """The options that a URL or a `key=value` text names; None for what is neither."""
    try:
        options = pq.Conninfo.parse(dsn.encode())
    except (psycopg.Error, UnicodeEncodeError):
        return None
    return {one.keyword.decode(): one.val.decode() for one in options if one.val is not None}


class Wire:
    """One connection, in pipeline mode: statements are sent in segments, each answered by itself."""

    def __init__(self, connection: PGconn, preparing: Preparing) -> None:
        self._pg = connection
        self._prepared = PreparedStatements(preparing)
        self._asked: deque[str | None] = deque()
        """What each answer of the segment is to: the preparation of a text, or (None) a statement."""
        connection.nonblocking = 1
        connection.enter_pipeline_mode()

    @classmethod
    async def connected(cls, server: Server, preparing: Preparing) -> Wire:
        """A new connection within five seconds, or an AdapterError. Names are looked up without blocking the loop."""
        with anyio.move_on_after(CONNECT_TIMEOUT_S):
            try:
                wire = cls(await _opened(server.conninfo(await _addresses(server.options))), preparing)
                await wire._look_for_pooler()
                return wire
            except (psycopg.Error, LostError) as error:
                raise as_unreached(str(error), server.place) from None
            except (OSError, UnicodeError):
                raise as_unreached("the name was not found", server.place) from None
        raise as_unreached("no answer in time", server.place)

    def prepares(self, statement: Statement) -> bool:
        """Whether the statement is sent by a name that was prepared before."""
        return self._prepared.name(statement.text) is not None

    def send(self, statements: Iterable[Statement]) -> None:
        """Put a segment into the pipeline. An error in it skips the rest of the segment, and no other."""
        try:
            for statement in statements:
                self._put_statement(statement)
            self._pg.pipeline_sync()
        except psycopg.Error as error:
            raise LostError from error

    def _put_statement(self, statement: Statement) -> None:
        parameters = [None if value is None else value.encode() for value in statement.parameters]
        name = self._prepared.name(statement.text)
        if name is None and (name := self._prepared.new_name(statement.text)) is not None:
            self._pg.send_prepare(name, statement.text.encode())
            self._asked.append(statement.text)
        if name is None:
            self._pg.send_query_params(statement.text.encode(), parameters)
        else:
            self._pg.send_query_prepared(name, parameters)
        self._asked.append(None)

    async def receive(self, results: list[StatementResult]) -> None:
        """Add to `results` those of the next segment's statements; LostError where the connection ends before."""
        try:
            await self._flushed()
            ends = 0
            while ends < 2:
                result = await self._result()
                ends = ends + 1 if result is None else 0
                if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                    return
                if result is not None:
                    self._hear(result, results)
        except (psycopg.Error, OSError, anyio.ClosedResourceError) as error:
            raise LostError from error
        raise LostError

    def _hear(self, result: PGresult, results: list[StatementResult]) -> None:
        prepared = self._asked.popleft() if self._asked else None
        if prepared is not None and result.status == ExecStatus.COMMAND_OK:
            return
        if prepared is not None:
            self._prepared.forget(prepared)
        if result.status != ExecStatus.PIPELINE_ABORTED:
            results.append(_read_result(result))

    async def _look_for_pooler(self) -> None:
        """Find out whether the process that answers is the one that logged this connection in; a pooler's is not."""
        if not self._prepared.is_undecided:
            return
        results: list[StatementResult] = []
        self.send([_WHO_ANSWERS])
        await self.receive(results)
        self._prepared.is_direct = results[0].value == b"%d" % self._pg.backend_pid

    async def copy(self, statement: Statement, chunks: Iterable[bytes]) -> StatementResult:
        """Send the rows that a COPY … FROM STDIN takes; what came of it."""
        try:
            self._pg.exit_pipeline_mode()
            self._pg.send_query(statement.text.encode())
            await self._flushed()
            result = await self._result()
            if result is not None and result.status == ExecStatus.COPY_IN:
                await self._put(chunks)
                result = await self._result()
            while await self._result() is not None:
                pass
            self._pg.enter_pipeline_mode()
        except (psycopg.Error, OSError, anyio.ClosedResourceError) as error:
            raise LostError from error
        if result is None:
            raise LostError
        return _read_result(result)

    async def _put(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            while self._pg.put_copy_data(chunk) == 0:
                await anyio.wait_writable(self._pg.socket)
            await self._flushed()
            await anyio.lowlevel.checkpoint()
        while self._pg.put_copy_end() == 0:
            await anyio.wait_writable(self._pg.socket)
        await self._flushed()

    async def _flushed(self) -> None:
        while self._pg.flush():
            await anyio.wait_writable(self._pg.socket)
            self._pg.consume_input()

    async def _result(self) -> PGresult | None:
        while self._pg.is_busy():
            await anyio.wait_readable(self._pg.socket)
            self._pg.consume_input()
        return self._pg.get_result()

    def is_idle(self) -> bool:
        """Whether it is in no transaction, and owes no answer."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE and not self._asked

    def is_stale(self) -> bool:
        """Whether the server has ended it, or said something unasked."""
        return self._pg.status != ConnStatus.OK or is_readable(self._pg.socket)

    def close(self) -> None:
        self._pg.finish()


def _read_result(result: PGresult) -> StatementResult:
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return StatementResult(refusal=_refusal(result))
    if not result.ntuples or not result.nfields:
        return StatementResult(affected=result.command_tuples or 0)
    counted = result.get_value(0, 1) if result.nfields > 1 else None
    return StatementResult(result.get_value(0, 0), int(counted) if counted and counted.isdigit() else 0)


def _refusal(result: PGresult) -> Refusal:
    code, message, constraint, source = (
        (result.error_field(about) or b"").decode(errors="replace") for about in _FIELDS_OF_ERRORS
    )
    if not code:  # libpq's own: the connection broke
        raise LostError
    return Refusal(code, message, constraint or None, is_hearsay=not source)


_FIELDS_OF_ERRORS: Final = (
    DiagnosticField.SQLSTATE,
    DiagnosticField.MESSAGE_PRIMARY,
    DiagnosticField.CONSTRAINT_NAME,
    DiagnosticField.SOURCE_FUNCTION,
)


async def _addresses(options: Mapping[str, str]) -> dict[str, str]:
    """Each host once for each of its addresses, beside which libpq looks nothing up."""
    if "hostaddr" in options:
        return {}
    hosts = options["host"].split(",")
    ports = options["port"].split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    found = [
        (host, address, port) for host, port in zip(hosts, ports, strict=True) for address in await _looked_up(host)
    ]
    joined = (",".join(one) for one in zip(*found, strict=True))
    return dict(zip(("host", "hostaddr", "port"), joined, strict=True))


async def _looked_up(host: str) -> list[str]:
    if host.startswith(("/", "@")) or _is_address(host):
        return ["" if host.startswith(("/", "@")) else host]
    found = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


async def _opened(conninfo: SecretStr) -> PGconn:
    connection = pq.PGconn.connect_start(conninfo.get_secret_value().encode())
    try:
        while (step := connection.connect_poll()) != PollingStatus.OK:
            if step == PollingStatus.FAILED:
                raise psycopg.OperationalError(connection.get_error_message())
            await (anyio.wait_readable if step == PollingStatus.READING else anyio.wait_writable)(connection.socket)
    except BaseException:
        connection.finish()
        raise
    return connection

"""The adapter of kind "local": PostgreSQL, which it starts when it is first asked something."""

from __future__ import annotations

import json
import os
from typing import Any

import anyio.to_thread

from agent_persistence.backends.local.places import dsn
from agent_persistence.backends.local.server import LocalServer
from agent_persistence.backends.local.tables import EXISTING, missing_tables
from agent_persistence.backends.postgres.adapter import PostgresAdapter
from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.backends.postgres.transactions import TransactionResult
from agent_persistence.exceptions import AdapterError, FailureState
from agent_persistence.runtime.attempts import starting
from agent_persistence.schema.registry import Schema


class LocalAdapter(PostgresAdapter):
    """A PostgresAdapter for the database in the directory `path`, which all processes of this machine share.

    The first call starts the server, and makes the database where there is none; the tables and columns of `schema`
    that are missing are made then, and none is changed. The call's deadline does not run meanwhile. The server ends
    when the last process that uses it has closed its adapters or has ended, in whatever way; the rows stay. `options`
    are those of PostgresAdapter. Calls are those of the superuser, under which row-level security does not hold:
    `role=`, `claims=` or `as_user(claims=…)` take on the role that it holds for; anon, authenticated and service_role
    are there.
    """

    def __init__(self, path: str | os.PathLike[str], *, schema: Schema | None = None, **options: Any) -> None:
        self._local = LocalServer(path)
        self._declared = schema
        super().__init__(dsn(self._local.sockets), **options)

    async def aclose(self) -> None:
        """Close the connections, and stop the server if nobody else uses it."""
        await super().aclose()
        await anyio.to_thread.run_sync(self._local.leave)

    async def started(self) -> None:
        """The server runs, and has the declared tables: what the first call does by itself.

        ConfigurationError says what is wrong with the directory, the installation or the schema.
        """
        if not self._local.is_joined:
            with starting():
                await anyio.to_thread.run_sync(self._local.join, self._make_tables, abandon_on_cancel=True)

    async def _run(self, verb: str, table: str, statement: Statement | None, **about: Any) -> TransactionResult:
        await self.started()
        try:
            return await super()._run(verb, table, statement, **about)
        except AdapterError as error:
            if error.state is not FailureState.REJECTED:  # the server may have ended; a further try starts it again
                self._local.doubt()
            raise

    def _make_tables(self, server: LocalServer) -> None:
        if self._declared is not None and self._declared.tables:
            sql = missing_tables(self._declared, json.loads(server.execute(EXISTING)))
            if sql:
                server.execute(sql)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._local.path)!r})"

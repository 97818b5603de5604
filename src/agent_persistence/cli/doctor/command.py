"""`doctor`: looks at everything between this process and the rows, and says what to do about what it finds."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from pydantic import SecretStr

from agent_persistence.cli.agreement import agreement
from agent_persistence.cli.checks import Area, Check, Level, counted, has_problems, remedies, shown_checks
from agent_persistence.cli.database import database_of
from agent_persistence.cli.doctor.environment import AREA as ENVIRONMENT, environment
from agent_persistence.cli.doctor.expected import ExpectedRights
from agent_persistence.cli.doctor.frameworks import framework_checks, served_tables
from agent_persistence.cli.doctor.keys import ApiKeyKind, key_checks, read_key
from agent_persistence.cli.doctor.public import public_checks, unseen_security
from agent_persistence.cli.doctor.reach import AREA as SERVER, DATABASE, reach, reach_database
from agent_persistence.cli.doctor.rights import right_checks, unseen_functions
from agent_persistence.cli.doctor.roles import Wanted, catalogue_checks
from agent_persistence.cli.doctor.spool import spool_checks
from agent_persistence.cli.doctor.tables import table_checks
from agent_persistence.cli.doctor.units import unit_checks
from agent_persistence.cli.help import add
from agent_persistence.cli.hiding import DATABASE_VARIABLE, PUBLIC_KEY_VARIABLES
from agent_persistence.cli.openapi import read_description
from agent_persistence.cli.options import AsJson, Kind, PolicyFile, SchemaFile
from agent_persistence.cli.rest import TIMEOUT_S, Rest, rest_of
from agent_persistence.cli.running import run, running
from agent_persistence.cli.spool import spool_of
from agent_persistence.cli.status import Status, status_of
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import AdapterError, ConfigurationError, PersistenceError

STORE: Final = Area("Store")


@dataclass
class _Examination:
    """What is to be looked at, and what was found so far."""

    target: Target
    role: str | None
    db_schema: str
    timeout_s: float
    probes_writes: bool
    checks: list[Check] = field(default_factory=list)
    status: Status = Status.FINE

    @property
    def sees_catalogues(self) -> bool:
        """Whether there is a database to look into."""
        is_named = bool(os.environ.get(DATABASE_VARIABLE, "").strip())
        return self.target.kind in ("postgres", "local") or (self.target.kind == "supabase" and is_named)

    def fail(self, area: Area, error: PersistenceError, subject: str | None = None, remedy: str | None = None) -> None:
        """Note what stopped a part of the examination."""
        self.status = max(self.status, status_of(error))
        self.checks.append(area.check(Level.PROBLEM, str(error), subject, remedy))

    async def note(self, found: AsyncIterator[Check]) -> None:
        """Note the checks as they come."""
        async for check in found:
            self.checks.append(check)


def register(app: typer.Typer) -> None:
    add(
        app,
        "doctor",
        doctor,
        "doctor",
        "doctor --policy policy.toml --schema schema.toml --json",
        "doctor --probe-writes --sql > repair.sql",
        "# with DATABASE_URL set, the catalogues are read too: all rights,",
        "# and row-level security of every table",
    )


def doctor(
    role: Annotated[
        str | None, typer.Option("--role", help="The role to check; without it, that of the key or the connection.")
    ] = None,
    db_schema: Annotated[str, typer.Option("--db-schema", help="The database schema behind DATABASE_URL.")] = "public",
    probe_writes: Annotated[
        bool,
        typer.Option(
            "--probe-writes",
            help="Send statements that write no row, to see the rights to write. Triggers of statements run.",
        ),
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL of the remedies, and nothing else.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = TIMEOUT_S,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    as_json: AsJson = False,
) -> None:
    """Check the way to the database, and print the SQL that repairs what is wrong. Nothing is changed.

    Looks at the settings, the server and its clock, the key, the tables and columns against the policy and the schema,
    the rights of the role, and row-level security. What cannot be checked is said, with what would make it visible.
    """
    with running("doctor", as_json=as_json) as screen:
        patient = _Examination(Target(kind, policy, schema), role, db_schema, timeout, probe_writes)
        run(_examine, patient)
        found = patient.checks
        screen.document = {"checks": [check.document() for check in found], "counts": counted(found)}
        if sql:
            screen.text("".join(f"{statement}\n" for statement in remedies(found)))
        else:
            screen.show(*shown_checks(found, screen.out))
        screen.status = max(patient.status, Status.FINDINGS if has_problems(found) else Status.FINE)


async def _examine(patient: _Examination) -> None:
    target = patient.target
    patient.checks += environment(os.environ)
    try:
        spool = spool_of(None)
        if spool is not None:
            await patient.note(spool_checks(spool))
        patient.checks += agreement(target.policy, target.schema)
        if target.kind == "supabase":
            async with rest_of(target, patient.timeout_s) as rest:
                await _examine_server(patient, rest)
        elif target.kind == "memory":
            message = "kept in this process: there is nothing to reach, and no role to be limited"
            patient.checks.append(STORE.check(Level.OK, message))
    except ConfigurationError as error:
        patient.fail(ENVIRONMENT, error)
        return
    if patient.sees_catalogues:
        await _examine_database(patient)


async def _examine_server(patient: _Examination, rest: Rest) -> None:
    target = patient.target
    config = target.config
    key = read_key("" if config.supabase_key is None else config.supabase_key.get_secret_value())
    patient.checks += key_checks(key, config.supabase_url or "", datetime.now(UTC))
    try:
        response, found = await reach(rest)
        patient.checks += found
        if has_problems(found) and response.status >= 300:
            return
        described = read_description(response)
        role = patient.role or key.role or "anon"  # which is what PostgREST takes where a token names none
        expected = ExpectedRights(
            target.policy, target.schema, role, described, patient.probes_writes, patient.sees_catalogues
        )
        await patient.note(table_checks(rest, expected))
        await patient.note(right_checks(rest, expected))
        if not patient.sees_catalogues:
            patient.checks += unseen_functions(target.policy)
            patient.checks += framework_checks(await served_tables(rest))
        await patient.note(unit_checks(rest, target.policy, target.schema))
        await _examine_public(patient, rest, expected, key)
    except AdapterError as error:
        unreached = "check SUPABASE_URL and the network, and that the project is not paused"
        patient.fail(SERVER, error, "the server", unreached if error.may_be_retried else None)


async def _examine_public(patient: _Examination, rest: Rest, expected: ExpectedRights, key: ApiKeyKind) -> None:
    """What everybody may read, with the key in use if that is public, else with a public one of the environment."""
    if key.is_public:
        await patient.note(public_checks(rest, expected))
        return
    variable = next((name for name in PUBLIC_KEY_VARIABLES if os.environ.get(name, "").strip()), None)
    if variable is None:
        if not patient.sees_catalogues:
            patient.checks.append(unseen_security(PUBLIC_KEY_VARIABLES))
        return
    public = patient.target.config.model_copy(update={"supabase_key": SecretStr(os.environ[variable].strip())})
    async with rest_of(patient.target, patient.timeout_s, config=public) as other:
        await patient.note(public_checks(other, expected, rest))


async def _examine_database(patient: _Examination) -> None:
    target = patient.target
    role = patient.role
    with suppress(PersistenceError):
        if role is None and target.kind == "supabase" and target.config.supabase_key is not None:
            role = read_key(target.config.supabase_key.get_secret_value()).role
    try:
        async with database_of(target) as database:
            wanted = Wanted(target.policy, target.schema, role, patient.db_schema, target.kind == "local")
            patient.checks += await reach_database(database)
            await patient.note(catalogue_checks(database, wanted))
    except PersistenceError as error:
        patient.fail(DATABASE, error, DATABASE_VARIABLE)

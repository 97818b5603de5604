"""Whether the server answers, how fast, and whether the two clocks agree."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Final

from agent_persistence.backends.postgrest.failures import parse_error
from agent_persistence.backends.postgrest.rendering import render_openapi
from agent_persistence.backends.transport.messages import Response
from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.database import Database
from agent_persistence.cli.rest import Rest

AREA: Final = Area("Server")
DATABASE: Final = Area("Database")
ROUNDS: Final = 3
TOLERATED_S: Final = 30.0
"""PostgREST takes times of a token for valid that are off by up to 30 seconds."""


async def reach(rest: Rest) -> tuple[Response, list[Check]]:
    """The server's description of itself and what getting it has shown, or AdapterError where nothing comes back."""
    first_ms, response, at = await _timed(rest)
    later_ms = [(await _timed(rest))[0] for _ in range(ROUNDS)]
    message = f"answers in {median(later_ms):.1f} ms, the first time in {first_ms:.1f} ms"
    checks = [
        AREA.check(Level.OK, message, "the server"),
        clock_check(response.headers.get("date"), at),
    ]
    return response, [*checks, *refusal(response)]


async def _timed(rest: Rest) -> tuple[float, Response, datetime]:
    began = time.perf_counter()
    response = await rest.ask(render_openapi())
    return (time.perf_counter() - began) * 1000, response, datetime.now(UTC)


async def reach_database(database: Database) -> list[Check]:
    """How fast the database answers once it is connected, which it is, and whether the two clocks agree."""
    await database.rows(_ABOUT)
    began = time.perf_counter()
    (found,) = await database.rows(_ABOUT)
    took_ms = (time.perf_counter() - began) * 1000
    about = f"PostgreSQL {found['version']} answers in {took_ms:.1f} ms, to the role {found['role']}"
    answers = DATABASE.check(Level.OK, about, "the database")
    return [answers, _compared(DATABASE, datetime.now(UTC).timestamp() - found["now_s"])]


_ABOUT: Final = """
select split_part(current_setting('server_version'), ' ', 1) as version, current_user as role,
  extract(epoch from clock_timestamp()) as now_s"""


def clock_check(date: str | None, at: datetime) -> Check:
    """How far the clock of this machine is from the server's Date header, which counts whole seconds."""
    try:
        server = parsedate_to_datetime(date or "")
    except ValueError:
        message = "cannot be compared: the server sends no Date"
        return _clock(AREA, Level.UNCHECKED, message, "run date -u on both machines")
    return _compared(AREA, (at - server).total_seconds())


def _compared(area: Area, off: float) -> Check:
    if abs(off) <= 2:
        return _clock(area, Level.OK, "agrees with the server's to within two seconds")
    message = f"is {abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} the server's"
    if abs(off) <= TOLERATED_S:
        return _clock(area, Level.NOTE, message)
    return _clock(
        area, Level.PROBLEM, f"{message}: tokens made here are refused, by their times", "set the clock by NTP"
    )


def _clock(area: Area, level: Level, message: str, remedy: str | None = None) -> Check:
    return area.check(level, message, "the clock", remedy)


def refusal(response: Response) -> Iterator[Check]:
    """Whether the server refuses the key, or is no PostgREST at all."""
    error = parse_error(response, "doctor", "the server") if response.status >= 300 else None
    if response.status == 401 and error is not None:
        yield AREA.check(Level.PROBLEM, "refuses the key", "the server", error.hint)
    elif error is not None and error.code is None and response.status != 403:
        message = f"answers with HTTP {response.status}, and not as PostgREST does"
        remedy = error.hint or "is SUPABASE_URL the project's base URL? /rest/v1 is added to it"
        yield AREA.check(Level.PROBLEM, message, "the server", remedy)

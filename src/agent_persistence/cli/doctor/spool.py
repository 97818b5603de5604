"""The file in which writes wait, where one is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.exceptions import PersistenceError
from agent_persistence.spool.spool import Spool

AREA: Final = Area("Spool")


async def spool_checks(spool: Spool) -> AsyncIterator[Check]:
    """Whether it can be used, what waits in it, and what was set aside."""
    subject = str(spool.path)
    try:
        found = await spool.status()
    except PersistenceError as error:
        yield AREA.check(Level.PROBLEM, str(error), subject)
        return
    finally:
        await spool.aclose()
    if not spool.path.parent.is_dir():
        yield AREA.check(Level.PROBLEM, "the folder does not exist, so that no write can be kept", subject)
    elif found.refused:
        remedy = "look at them with `agent-persistence spool show --refused`, then retry or drop them"
        yield AREA.check(
            Level.NOTE, f"{found.waiting} writes wait, and {found.refused} were set aside", subject, remedy
        )
    elif found.waiting:
        remedy = "an agent that uses it applies them, and so does `agent-persistence spool flush`"
        yield AREA.check(Level.NOTE, f"{found.waiting} writes wait", subject, remedy)
    else:
        yield AREA.check(Level.OK, "nothing waits", subject)

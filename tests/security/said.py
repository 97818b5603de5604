"""All that an object says of itself, however it is asked."""

from __future__ import annotations

import pickle
import re
import traceback
from collections.abc import Iterator

from agent_persistence.exceptions import PersistenceError

KEY = "sb_secret_SENTINELKEY_0a1b2c3d"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.SENTINELTOKEN.c2ln"
FILTERED = "SENTINELFILTERED"
WRITTEN = "SENTINELWRITTEN"
STORED = "SENTINELSTORED"
TENANT = "SENTINELTENANT"
SENTINELS = ("SENTINELKEY", "SENTINELTOKEN", FILTERED, WRITTEN, STORED, TENANT)


def secrets_in(text: str) -> list[str]:
    """The sentinels that a text holds."""
    return [sentinel for sentinel in SENTINELS if sentinel in text]


FOR_DEVELOPERS = re.compile(
    r"SUPABASE_|DATABASE_URL|PERSIST_|\bGRANT\b|\bgrant\b|service_role|sb_(?:secret|publishable)_|eyJ|HTTP"
    r"|(?<![\w'])[a-z_]+=(?!=)|TablePolicy|\bSchema\b|Redaction|agent_persistence|://|\d+\.\d+\.\d+\.\d+|localhost|\.example"
)
"""What leads to more rights or to the server: variables, options, classes, keys, hosts."""


def for_developers_in(text: str) -> list[str]:
    """What a text holds that is not for a model."""
    return [*FOR_DEVELOPERS.findall(text), *secrets_in(text)]


def said_by(thing: object) -> str:
    """Its repr, str and format, and those of its attributes."""
    told = [f"{name}={value!r} {value!s}" for name, value in getattr(thing, "__dict__", {}).items()]
    return "\n".join([repr(thing), str(thing), f"{thing}", f"{thing!a}", *told])


def _pickled(error: BaseException) -> str:
    """The pickle of an error, or all that is said about why there is none."""
    try:
        return pickle.dumps(error).decode("latin-1")
    except Exception as refused:
        return repr(refused) + "".join(traceback.format_exception(refused))


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and whatever is behind it: causes, contexts, members of groups."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]


def said_by_error(error: BaseException) -> str:
    """All that a log, a debugger or an error tracker without local variables shows of an error and what it holds."""
    told = ["".join(traceback.format_exception(error)), _pickled(error)]
    for link in chain(error):
        told += [link.for_model()] if isinstance(link, PersistenceError) else []
        told += [said_by(link), repr(link.args), repr(getattr(link, "__notes__", ""))]
        told += [said_by(held) for held in vars(link).values()]
    return "\n".join(told)

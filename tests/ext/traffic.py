"""Calls that end in every way, and what the metrics of the process counted of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent_persistence import AdapterError, PersistenceError, metrics
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import RecordingAdapter

_CALLS: list[tuple[Any, ...]] = [
    ("query", "leads"),
    ("write", "leads", {"email": "a"}),
    ("write", "leads", {"email": "b"}),
    ("query", "messages"),
    ("write", "clients", {"name": "a"}),
    ("write", "nowhere", {"name": "a"}),
]


async def mixed(made: Callable[[RecordingAdapter], AsyncPersistenceService]) -> None:
    """Two calls succeed, two fail in the adapter, and two are refused."""
    service = made(RecordingAdapter(failures=[None, None, AdapterError("no"), AdapterError("no")]))
    for verb, *arguments in _CALLS:
        with suppress(PersistenceError):
            await getattr(service, verb)(*arguments)


def counted() -> dict[str, dict[str, tuple[float, float]]]:
    """By verb and table the calls, and those of them that failed."""
    return {
        verb: {table: (figures["count"], figures["errors"]) for table, figures in tables.items()}
        for verb, tables in metrics.snapshot().items()
    }

"""What the tests of imports share: a service over memory or a server, files, and a store that a crash leaves behind."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, RetryPolicy, Schema
from agent_persistence.query.records import Record
from agent_persistence.schema_registry import default_schema
from tests.doubles import FakeTime, RecordingAdapter

HEADER = "email,first_name,score"


def lead(number: int) -> str:
    return f"u{number}@a.example,Ada {number},{number}\n"


def leads(path: Path, count: int, *, first: int = 0) -> Path:
    """A CSV file of so many leads."""
    path.write_text(f"{HEADER}\n" + "".join(map(lead, range(first, first + count))), encoding="utf-8")
    return path


def written(path: Path, text: str | bytes) -> Path:
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def memory(schema: Schema | None = None) -> InMemoryAdapter:
    return InMemoryAdapter(schema=schema or default_schema())


def service(adapter: Any = None, **options: Any) -> AsyncPersistenceService:
    """A service whose retries take no time."""
    clockwork = FakeTime()
    given = {"retry": RetryPolicy(base_s=0.001), "clock": clockwork.clock, "sleep": clockwork.sleep, **options}
    return AsyncPersistenceService(memory() if adapter is None else adapter, **given)


async def emails(made: AsyncPersistenceService) -> list[str]:
    """The emails of all leads, in the order in which they were stored."""
    return [row["email"] for row in await made.query("leads")]


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class BulkAdapter(RecordingAdapter):
    """Writes down what each bulk write held: `sent` are the emails by call, `targets` what they were merged by."""

    def __init__(self, **options: Any) -> None:
        super().__init__(memory(), **options)
        self.sent: list[list[Any]] = []
        self.records: list[list[Mapping[str, Any]]] = []
        self.targets: list[Sequence[str] | None] = []

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.sent.append([record.get("email") for record in records])
        self.records.append([dict(record) for record in records])
        self.targets.append(on_conflict)
        return await super().bulk_write(table, records, on_conflict=on_conflict)

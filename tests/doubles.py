"""Stand-ins for what surrounds the core: adapters that count and fail, names that lie, time that does not pass."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import anyio

from agent_persistence.adapters.memory import InMemoryAdapter
from agent_persistence.backends.base import CAPABILITIES
from agent_persistence.filters import Filters
from agent_persistence.policy.identity import OWN
from agent_persistence.query.ordering import OrderBy
from agent_persistence.query.records import Record, Row


def shown(value: object) -> str:
    """A parameter as the id of a test: short, in ASCII, and the same in every process."""
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))[:60]


class RecordingAdapter:
    """Writes down every call that arrives, raises the next of `failures` if there is one, and else stores in memory.

    A None among the failures lets one call through. Capabilities named in `without` are declared absent.
    """

    identity: Final = OWN

    def __init__(
        self,
        inner: InMemoryAdapter | None = None,
        *,
        failures: Iterable[BaseException | None] = (),
        without: Container[str] = (),
    ) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.closed = 0
        self.capabilities: Mapping[str, bool] = {name: name not in without for name in CAPABILITIES}
        self._inner = inner or InMemoryAdapter()
        self._failures = iter(failures)

    @property
    def verbs(self) -> list[str]:
        """The verbs that arrived, in order."""
        return [verb for verb, _ in self.calls]

    async def arrived(self, verb: str, *arguments: Any) -> None:
        """Hook for subclasses: runs as soon as a call arrives."""
        self.calls.append((verb, arguments))
        failure = next(self._failures, None)
        if failure is not None:
            raise failure

    async def write(self, table: str, record: Record) -> Row:
        await self.arrived("write", table, record)
        return await self._inner.write(table, record)

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        await self.arrived("batch_write", table, records)
        return await self._inner.batch_write(table, records)

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        await self.arrived("bulk_write", table, records, on_conflict)
        return await self._inner.bulk_write(table, records, on_conflict=on_conflict)

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        await self.arrived("upsert", table, record, on_conflict)
        return await self._inner.upsert(table, record, on_conflict)

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        await self.arrived("read", table, id_value, id_column)
        return await self._inner.read(table, id_value, id_column)

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> list[Row]:
        await self.arrived("query", table, filters, limit, order_by, descending, select, offset)
        return await self._inner.query(table, filters, limit, order_by, descending, select, offset=offset)

    async def get_columns(self, table: str) -> list[str] | None:
        await self.arrived("get_columns", table)
        return await self._inner.get_columns(table)

    async def count(self, table: str, filters: Filters | None = None) -> int:
        await self.arrived("count", table, filters)
        return await self._inner.count(table, filters)

    async def update(
        self, table: str, changes: Record, filters: Filters, *, max_affected: int | None = None
    ) -> list[Row]:
        await self.arrived("update", table, changes, filters, max_affected)
        return await self._inner.update(table, changes, filters, max_affected=max_affected)

    async def delete(self, table: str, filters: Filters, *, max_affected: int | None = None) -> list[Row]:
        await self.arrived("delete", table, filters, max_affected)
        return await self._inner.delete(table, filters, max_affected=max_affected)

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> object:
        await self.arrived("call", function, arguments, may_write)
        return dict(arguments)

    async def aclose(self) -> None:
        self.closed += 1
        await self._inner.aclose()


class HangingAdapter(RecordingAdapter):
    """Never answers, once the scripted failures are used up; `hanging` is set when a call hangs."""

    def __init__(self, *, failures: Iterable[BaseException] = ()) -> None:
        super().__init__(failures=failures)
        self.hanging = anyio.Event()

    async def arrived(self, verb: str, *arguments: Any) -> None:
        await super().arrived(verb, *arguments)
        self.hanging.set()
        await anyio.sleep_forever()


class FakeTime:
    """A clock in seconds that only moves when somebody sleeps; the sleeps are written down."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, pause_s: float) -> None:
        self.slept_s.append(pause_s)
        self.now_s += pause_s


class Lying(str):
    """Text that says it equals whatever it is compared with, and hashes like `claimed`."""

    __slots__ = ("claimed",)
    claimed: str

    def __new__(cls, text: str, claimed: str) -> Self:
        lie = super().__new__(cls, text)
        lie.claimed = claimed
        return lie

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash(self.claimed)

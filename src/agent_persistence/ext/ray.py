"""Ray Data: datasets into tables, and texts into vectors, on as many machines as a cluster has.

sink = PersistenceSink(connect, "documents", key="crawl 2026-11-29")
embed_dataset(ray.data.read_parquet("s3://…"), embedder, text="body").write_datasink(sink)
print(sink.report)

`connect` and `embedder` are functions that each worker calls, so that no connection and no key is sent to it: they read
the worker's environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final, Protocol
from uuid import uuid4

import anyio

from agent_persistence._extras import command_for
from agent_persistence.bulk import ImportReport, bulk_import
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.ext.embeddings import Embedder
from agent_persistence.persistence_agent import PersistenceAgent

try:
    from ray.data import Dataset, Datasink
    from ray.data.block import BlockAccessor
except ImportError as error:
    raise ConfigurationError(f"PersistenceSink needs Ray Data: {command_for('ray')}") from error

__all__ = ["PersistenceSink", "SinkReport", "embed_dataset"]

_BATCH_ROWS: Final = 64


class _Blocks(Protocol):
    """What Ray hands to a write task beside its blocks."""

    task_idx: int


@dataclass(frozen=True, slots=True)
class SinkReport:
    """How a dataset was written: `tasks` of Ray's and, over all of them, what `ImportReport` says of one import."""

    table: str
    tasks: int
    rows: int
    resumed_rows: int
    skipped_by_database: int

    def __str__(self) -> str:
        before = f", {self.resumed_rows:,} of them stored before" if self.resumed_rows else ""
        dropped = f", {self.skipped_by_database:,} dropped by the database" if self.skipped_by_database else ""
        return f"{self.table}: {self.rows:,} rows in {self.tasks:,} tasks{before}{dropped}"


class PersistenceSink(Datasink[list[ImportReport]]):
    """Writes a dataset into a table: `dataset.write_datasink(PersistenceSink(connect, "documents"))`.

    `connect` is called in every worker, and returns an agent that is closed when its task ends; policy, tenant, masks
    and validation are the agent's. It is pickled and sent to the workers, so let it read keys from their environment.

    Each row is stored once, whatever Ray runs again: rows get keys by `key`, task, block, place and content, and what
    is stored of them is not written again. That holds over runs of a program, too, where `key` is given and the dataset
    comes in the same blocks (`DataContext.execution_options.preserve_order`); where it does not, a task fails with
    ImportStoppedError before it writes. With `on_conflict` rows are merged by these columns instead, in any order.

    A row that the database refuses fails its task. Ray runs a task again where its worker died, and for an error only
    where `ray_remote_args={"retry_exceptions": True}` says so. `options` are those of `bulk_import`. After the write
    `report` says how it went.
    """

    def __init__(
        self,
        connect: Callable[[], PersistenceAgent],
        table: str,
        *,
        key: str | None = None,
        on_conflict: list[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._connect = connect
        self._table = table
        self._key = None if on_conflict else key or uuid4().hex
        self._options = {**(options or {}), "on_conflict": on_conflict}
        self.report: SinkReport | None = None

    def write(self, blocks: Iterable[Any], ctx: _Blocks) -> list[ImportReport]:
        """Write the blocks of one task; Ray calls it in a worker."""
        return anyio.run(self._write, blocks, ctx.task_idx)

    async def _write(self, blocks: Iterable[Any], task: int) -> list[ImportReport]:
        async with self._connect() as agent:
            return [
                await bulk_import(
                    agent,
                    self._table,
                    BlockAccessor.for_block(block).to_arrow(),
                    key=self._key and f"{self._key}/{task}/{number}",
                    **self._options,
                )
                for number, block in enumerate(blocks)
            ]

    def on_write_complete(self, write_result: Any) -> None:
        """Sum up what the tasks did; Ray calls it on the driver."""
        reports = [report for reports in write_result.write_returns for report in reports]
        self.report = SinkReport(
            self._table,
            tasks=len(write_result.write_returns),
            rows=sum(report.rows for report in reports),
            resumed_rows=sum(report.resumed_rows for report in reports),
            skipped_by_database=sum(report.skipped_by_database for report in reports),
        )


def embed_dataset(
    dataset: Dataset,
    embedder: Callable[[], Embedder],
    *,
    text: str = "content",
    vector: str = "embedding",
    batch_rows: int = _BATCH_ROWS,
    **map_options: Any,
) -> Dataset:
    """The dataset with a column `vector` of what the texts in the column `text` mean; NULL where there is no text.

    `embedder` is called once in each worker that Ray starts; `map_options` are those of `Dataset.map_batches`, such as
    `concurrency=8` and `num_gpus=1`. Nothing is done before the dataset is read or written.
    """
    return dataset.map_batches(
        _Embedding,
        batch_size=batch_rows,
        batch_format="pyarrow",
        fn_constructor_args=(embedder, text, vector),
        **{"concurrency": 1, **map_options},
    )


class _Embedding:
    """A worker's embedder over Arrow tables."""

    def __init__(self, embedder: Callable[[], Embedder], text: str, vector: str) -> None:
        self._embedder = embedder()
        self._text = text
        self._vector = vector

    def __call__(self, batch: Any) -> Any:
        pyarrow = import_module("pyarrow")
        texts = batch.column(self._text).to_pylist()
        given = [text for text in texts if text]
        vectors = iter(anyio.run(partial(self._embedder.embed, given)) if given else ())
        column = [next(vectors) if text else None for text in texts]
        return batch.append_column(self._vector, pyarrow.array(column, pyarrow.list_(pyarrow.float32())))

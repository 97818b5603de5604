"""Deleting, copying and pruning of whole threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent_persistence.client.verbs import AllVerbs
from agent_persistence.exceptions import OutcomeUnknownError, ValidationError
from agent_persistence.ext._langgraph.parts import STORED, Namespace, Stored, thread_of
from agent_persistence.ext._short_lists import short_lists
from agent_persistence.ext._tables.langgraph import PARTS as TABLE
from agent_persistence.query.filters import Filters, in_, lt
from agent_persistence.query.records import NULL, Row

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

DELETIONS_TRIED: Final = 3
ROWS_A_BATCH: Final = 500
CHARS_A_BATCH: Final = 4 * 2**20
STRATEGIES: Final = ("keep_latest", "delete")
_DELTA_MARKS: Final = ("counters_since_delta_snapshot", "delta_writes_versioned")
_OF_CHECKPOINTS: Final = in_(["checkpoint", "write"])


async def delete(agent: AllVerbs, filters: Filters) -> None:
    """The rows are gone. What has no answer is sent again: a row that is gone cannot be deleted twice."""
    for _ in range(DELETIONS_TRIED - 1):
        try:
            await agent.delete(TABLE, filters)
        except OutcomeUnknownError:
            continue
        return
    await agent.delete(TABLE, filters)


async def delete_thread(agent: AllVerbs, thread_id: str) -> None:
    await delete(agent, {"thread_id": thread_id})


async def delete_for_runs(agent: AllVerbs, run_ids: Sequence[str], serde: SerializerProtocol) -> None:
    runs = _names("run_ids", run_ids)
    gone: dict[Namespace, list[str]] = defaultdict(list)
    for some in short_lists(runs):
        wanted: Filters = {"kind": "checkpoint", "run_id": in_(some)}
        for row in await agent.query(TABLE, wanted, select=["thread_id", "checkpoint_ns", "ref"]):
            gone[Namespace(row["thread_id"], row["checkpoint_ns"])].append(row["ref"])
    await _refuse_delta(agent, sorted({place.thread_id for place in gone}), serde)
    for place, ids in gone.items():
        blobs = await _blobs(agent, place)
        remaining = [one async for one in _checkpoints(agent, place, serde) if one.id not in {*ids}]
        for some in short_lists(ids):
            await delete(agent, {**place.filters, "kind": _OF_CHECKPOINTS, "ref": in_(some)})
        await _delete_blobs(agent, place, blobs, remaining)


async def copy_thread(agent: AllVerbs, source: str, target: str, key: Sequence[str]) -> None:
    for kinds in (["blob", "write"], ["checkpoint"]):
        wanted: Filters = {"thread_id": source, "kind": in_(kinds)}
        rows = agent.iterate(TABLE, wanted, page_size=100, order_by="ref", select=STORED)
        async for batch in _batches(rows):
            copied = [{**_with_nulls(row), "thread_id": target} for row in batch]
            await agent.bulk_write(TABLE, copied, key)


async def prune(agent: AllVerbs, thread_ids: Sequence[str], strategy: str, serde: SerializerProtocol) -> None:
    if strategy not in STRATEGIES:
        raise ValidationError(TABLE, f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")
    threads = _names("thread_ids", thread_ids)
    if strategy == "delete":
        for some in short_lists(threads):
            await delete(agent, {"thread_id": in_(some)})
        return
    await _refuse_delta(agent, threads, serde)
    for thread in threads:
        for place, newest in (await _newest(agent, thread)).items():
            await _keep(agent, place, newest, serde)


async def _keep(agent: AllVerbs, place: Namespace, newest: str, serde: SerializerProtocol) -> None:
    """Delete what is older than the newest checkpoint. What is newer came meanwhile, and its blobs are not among those
    that were looked for before the checkpoints that refer to them."""
    blobs = await _blobs(agent, place)
    kept = [one async for one in _checkpoints(agent, place, serde) if one.id >= newest]
    await delete(agent, {**place.filters, "kind": _OF_CHECKPOINTS, "ref": lt(newest)})
    await _delete_blobs(agent, place, blobs, kept)
    own: Filters = {**place.filters, "kind": "checkpoint", "ref": newest}
    await agent.update(TABLE, {"parent_id": NULL}, own)


async def _newest(agent: AllVerbs, thread_id: str) -> dict[Namespace, str]:
    """The id of the newest checkpoint of each namespace."""
    newest: dict[Namespace, str] = {}
    wanted: Filters = {"thread_id": thread_id, "kind": "checkpoint"}
    columns = ["thread_id", "checkpoint_ns", "ref"]
    async for row in agent.iterate(TABLE, wanted, order_by="ref", select=columns):
        newest[Namespace(row["thread_id"], row["checkpoint_ns"])] = row["ref"]
    return newest


async def _blobs(agent: AllVerbs, place: Namespace) -> set[tuple[str, str]]:
    """The blobs that are there, as channel and version."""
    wanted: Filters = {**place.filters, "kind": "blob"}
    rows = agent.iterate(TABLE, wanted, order_by="ref", select=["name", "ref"])
    return {(row["name"], row["ref"]) async for row in rows}


async def _delete_blobs(
    agent: AllVerbs, place: Namespace, blobs: Iterable[tuple[str, str]], kept: Iterable[Stored]
) -> None:
    """Delete those of the blobs to which none of the checkpoints refers."""
    unused = {*blobs}.difference(*(one.versions for one in kept))
    by_channel: dict[str, list[str]] = defaultdict(list)
    for channel, version in sorted(unused):
        by_channel[channel].append(version)
    for channel, versions in by_channel.items():
        for some in short_lists(versions):
            await delete(agent, {**place.filters, "kind": "blob", "name": channel, "ref": in_(some)})


async def _checkpoints(agent: AllVerbs, place: Namespace, serde: SerializerProtocol) -> AsyncIterator[Stored]:
    wanted: Filters = {**place.filters, "kind": "checkpoint"}
    async for row in agent.iterate(TABLE, wanted, order_by="ref", page_size=200, select=STORED):
        yield Stored.of(row, serde)


async def _refuse_delta(agent: AllVerbs, thread_ids: Iterable[str], serde: SerializerProtocol) -> None:
    """Refuse threads in which a value is made of the writes of checkpoints that would be deleted."""
    for thread in thread_ids:
        wanted: Filters = {"thread_id": thread, "kind": "checkpoint"}
        async for row in agent.iterate(TABLE, wanted, order_by="ref", page_size=200, select=STORED):
            metadata: Mapping[str, Any] = dict(Stored.of(row, serde).metadata)
            if any(mark in metadata for mark in _DELTA_MARKS):
                raise NotImplementedError(
                    f"thread {thread} uses a DeltaChannel, whose value is made of the writes of earlier checkpoints:"
                    " delete the whole thread, or leave it as it is; nothing was deleted"
                )


async def _batches(rows: AsyncIterator[Row]) -> AsyncIterator[list[Row]]:
    batch: list[Row] = []
    chars = 0
    async for row in rows:
        size = len(row["value"])
        if batch and (len(batch) == ROWS_A_BATCH or chars + size > CHARS_A_BATCH):
            yield batch
            batch, chars = [], 0
        batch.append(row)
        chars += size
    if batch:
        yield batch


def _with_nulls(row: Row) -> dict[str, Any]:
    return {name: NULL if value is None else value for name, value in row.items()}


def _names(option: str, names: object) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValidationError(TABLE, f"{option} is a list of ids, not {type(names).__name__}")
    return list(dict.fromkeys(thread_of(name) for name in names))

"""LangGraph's checkpointer over an agent."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
)

from agent_persistence.client.verbs import AllVerbs
from agent_persistence.exceptions import ConflictError
from agent_persistence.ext._langgraph import clearing
from agent_persistence.ext._langgraph.outbox import Outbox
from agent_persistence.ext._langgraph.parts import (
    STORED,
    Namespace,
    Part,
    Stored,
    checkpoint_parts,
    is_special,
    matches,
    place_of,
    searchable,
    thread_of,
    write_parts,
)
from agent_persistence.ext._langgraph.runs import Runs
from agent_persistence.ext._short_lists import short_lists
from agent_persistence.ext._tables.checking import checked_agent
from agent_persistence.ext._tables.langgraph import CHECKPOINTS, PARTS as TABLE
from agent_persistence.ext._tables.owning import OwnerColumn
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.query.filters import Filters, all_of, any_of, contains, gt, in_, lt
from agent_persistence.query.ordering import asc, desc
from agent_persistence.query.records import Row
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.registry import Table
from agent_persistence.service import AsyncPersistenceService
from agent_persistence.sync import wait_for, wait_for_each

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

CHECKPOINTS_A_PAGE: Final = 50
READS_AT_ONCE: Final = 5


class Checkpointer(BaseCheckpointSaver[str]):
    """Keeps the checkpoints of LangGraph's graphs where the agent keeps its rows, under the agent's policy and user.

        graph = builder.compile(checkpointer=Checkpointer(agent))

    A put stores the checkpoint and the values that changed by one statement: all of it or nothing, and once, however
    often it has to be sent; so does put_writes. The first ordinary write under an index stays, the last special one
    counts (errors, schedules, interrupts, resumptions). Thread ids are texts: 1 and "1" are the same thread. `list`
    gives the newest checkpoint first, over all threads and namespaces that it was asked for.

    The blocking methods run in the background loop of `agent_persistence.sync` and work within a running loop, too.
    Errors are this package's; the agent stays open and is the caller's to close.
    """

    def __init__(
        self, agent: PersistenceAgent | AsyncPersistenceService, *, serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(serde=serde)
        self._agent: AllVerbs = checked_agent(agent, CHECKPOINTS.tables, "Checkpointer")
        self._key = self._agent.schema.primary_key(TABLE)
        self._outbox = Outbox(self._agent)
        self._runs = Runs()

    @staticmethod
    def tables(owner: OwnerColumn | None = None) -> dict[str, Table]:
        """The declaration of the table, for the agent's Schema; its name belongs in read, write and delete."""
        return CHECKPOINTS.declared(owner)

    @staticmethod
    def sql(owner: OwnerColumn | None = None, *, db_schema: str = "public", row_level_security: bool = True) -> str:
        """SQL that makes the table, for its owner to read and run. Nothing here runs it."""
        return CHECKPOINTS.sql(owner, db_schema=db_schema, row_level_security=row_level_security)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store the checkpoint, whose parent is the config's own; one that is there already is replaced.

        In a run of a graph that is further already, it may wait for the next one, with which it is stored.
        """
        parts = checkpoint_parts(config, checkpoint, metadata, new_versions, self.serde)
        await self._runs.put(config, checkpoint["id"], parts, self._stored)
        return place_of(config).config(checkpoint["id"])

    async def _stored(self, parts: Sequence[Part]) -> None:
        """The checkpoints are there as they were given, all or none."""
        try:
            await self._send(parts)
        except ConflictError:
            await self._send(parts, merge=True)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task, by one statement unless some are there already."""
        self._runs.wrote(config)
        parts = write_parts(config, writes, task_id, task_path, self.serde)
        if not parts:
            return
        if all(map(is_special, parts)):
            await self._send(parts, merge=True)
            return
        try:
            await self._send(parts)
        except ConflictError:
            await self._add_missing(parts)

    async def _send(self, parts: Sequence[Part], *, merge: bool = False) -> None:
        """All parts are stored, or none; with `merge` in place of those that are there. The one place where a
        checkpoint's rows are sent."""
        if merge:
            await self._agent.bulk_write(TABLE, parts, self._key)
        else:
            await self._outbox.insert(parts)

    async def _add_missing(self, parts: Sequence[Part]) -> None:
        """Leave the ordinary writes that are there as they are, and let the special ones count."""
        if special := [part for part in parts if is_special(part)]:
            await self._send(special, merge=True)
        ordinary = [part for part in parts if not is_special(part)]
        of_task = {name: ordinary[0][name] for name in ("thread_id", "checkpoint_ns", "kind", "ref", "name")}
        while True:
            there = {row["idx"] for row in await self._agent.query(TABLE, of_task, select=["idx"])}
            missing = [part for part in ordinary if part["idx"] not in there]
            if not missing:
                return
            try:
                await self._send(missing)
            except ConflictError:
                if len(missing) == len(ordinary) and not there:
                    raise  # what it conflicts with is no write of this task
                ordinary = missing
            else:
                return

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint of the config's id, or else the newest of its namespace; None where there is none."""
        wanted: dict[str, Any] = {**place_of(config).filters, "kind": "checkpoint"}
        if checkpoint_id := get_checkpoint_id(config):
            wanted["ref"] = checkpoint_id
        rows = await self._agent.query(TABLE, wanted, 1, desc("ref"), select=STORED)
        whole = await self._whole([Stored.of(row, self.serde) for row in rows])
        return whole[0] if whole else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield the checkpoints, the newest first, a page in memory at a time.

        `filter` compares the metadata's own keys as JSON (True is not 1); None is null or missing. A limit of 0 or
        less gives none.
        """
        left = limit
        selected = _selected(config, filter, before)
        position: Row | None = None
        while left is None or left > 0:
            behind = [] if position is None else [_behind(position)]
            size = CHECKPOINTS_A_PAGE if left is None or filter else min(left, CHECKPOINTS_A_PAGE)
            order = [desc("ref"), asc("thread_id"), asc("checkpoint_ns")]
            rows = await self._agent.query(TABLE, all_of(*selected, *behind), size, order, select=STORED)
            stored = [Stored.of(row, self.serde) for row in rows]
            found = [one for one in stored if matches(cast("Mapping[str, Any]", one.metadata), filter or {})][:left]
            for one in await self._whole(found):
                yield one
            left = None if left is None else left - len(found)
            if len(rows) < size:
                return
            position = rows[-1]

    async def _whole(self, stored: Sequence[Stored]) -> list[CheckpointTuple]:
        """The checkpoints with their values and writes, all of which are asked for at once."""
        places = list(dict.fromkeys(one.place for one in stored))
        found = await together([partial(self._belonging, place, stored) for place in places]) if places else []
        parts = dict(zip(places, found, strict=True))
        return [one.whole(parts[one.place], self.serde) for one in stored]

    async def _belonging(self, place: Namespace, stored: Sequence[Stored]) -> Sequence[Row]:
        """The rows of one namespace to which the checkpoints refer."""
        refs = dict.fromkeys(ref for one in stored if one.place == place for ref in one.refs)
        own = {**place.filters, "kind": in_(["blob", "write"])}
        calls = [
            partial(self._agent.query, TABLE, {**own, "ref": in_(some)}, select=STORED) for some in short_lists(refs)
        ]
        return [row for rows in await together(calls, at_once=READS_AT_ONCE) for row in rows]

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all rows of the thread, by one statement."""
        await clearing.delete_thread(self._agent, thread_of(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of the runs with their writes, and the values to which no other checkpoint refers.

        Threads that use a DeltaChannel are refused with NotImplementedError before anything is deleted: what is left
        of them could not be read any more.
        """
        await clearing.delete_for_runs(self._agent, run_ids, self.serde)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints, values and writes; what the target has under the same ids is replaced.

        Batches of a bounded size are each written whole, checkpoints after all that they refer to. A copy that fails
        in the middle is completed by copying again.
        """
        await clearing.copy_thread(self._agent, thread_of(source_thread_id), thread_of(target_thread_id), self._key)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep the newest checkpoint of each namespace ("keep_latest"), or nothing ("delete").

        Threads that use a DeltaChannel are refused by keep_latest with NotImplementedError before anything is deleted.
        What a run stores meanwhile stays. It may be done again after a failure.
        """
        await clearing.prune(self._agent, thread_ids, strategy, self.serde)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A text that sorts behind the current version, and that no other branch of the thread has."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.randrange(10**16):016}"

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`aget_tuple`, waited for."""
        return wait_for(self.aget_tuple, config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """`alist`, waited for page by page."""
        found = self.alist(config, filter=filter, before=before, limit=limit)
        return wait_for_each(found, take=CHECKPOINTS_A_PAGE)  # type: ignore[arg-type]

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`aput`, waited for until the checkpoint is stored."""
        parts = checkpoint_parts(config, checkpoint, metadata, new_versions, self.serde)
        wait_for(self._stored, parts)
        return place_of(config).config(checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """`aput_writes`, waited for."""
        wait_for(self.aput_writes, config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """`adelete_thread`, waited for."""
        wait_for(self.adelete_thread, thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`adelete_for_runs`, waited for."""
        wait_for(self.adelete_for_runs, run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`acopy_thread`, waited for."""
        wait_for(self.acopy_thread, source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`aprune`, waited for."""
        wait_for(self.aprune, thread_ids, strategy=strategy)


def _selected(
    config: RunnableConfig | None, wanted: Mapping[str, Any] | None, before: RunnableConfig | None
) -> list[Filters]:
    """The checkpoints that a list is made of; of the metadata, as far as the database compares it exactly."""
    selected: list[Filters] = [{"kind": "checkpoint"}]
    configurable = (config or {}).get("configurable") or {}
    if "thread_id" in configurable:
        selected.append({"thread_id": thread_of(configurable["thread_id"])})
    if (namespace := configurable.get("checkpoint_ns")) is not None:
        selected.append({"checkpoint_ns": namespace})
    if checkpoint_id := configurable.get("checkpoint_id"):
        selected.append({"ref": checkpoint_id})
    if before is not None and (last := get_checkpoint_id(before)):
        selected.append({"ref": lt(last)})
    if exact := searchable(wanted or {}):
        selected.append({"metadata": contains(exact)})
    return selected


def _behind(position: Row) -> Filters:
    """The checkpoints that are listed after this one."""
    reference, thread_id, namespace = position["ref"], position["thread_id"], position["checkpoint_ns"]
    return any_of(
        {"ref": lt(reference)},
        {"ref": reference, "thread_id": gt(thread_id)},
        {"ref": reference, "thread_id": thread_id, "checkpoint_ns": gt(namespace)},
    )

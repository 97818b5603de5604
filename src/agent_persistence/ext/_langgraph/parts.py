"""A checkpoint as rows of one table, and back. Pure.

The rows of a thread are of three kinds: the checkpoint without the values of its channels, a value of a channel at one
version ("blob"), and a write of a task that is pending ("write"). They stand in one table so that one statement puts,
copies and deletes what belongs together.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_serializable_checkpoint_metadata,
    writes_sort_key,
)

from agent_persistence.exceptions import ValidationError
from agent_persistence.ext._json_values import equal, is_exact
from agent_persistence.ext._tables.langgraph import CHECKPOINTS, PARTS as TABLE
from agent_persistence.query.records import NULL, Row

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

STORED: Final = tuple(name for name in CHECKPOINTS.tables[TABLE].columns if name != "created_at")
SHORT_CHARS: Final = 100

Part: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace of one thread."""

    thread_id: str
    checkpoint_ns: str

    @property
    def filters(self) -> dict[str, Any]:
        return {"thread_id": self.thread_id, "checkpoint_ns": self.checkpoint_ns}

    def config(self, checkpoint_id: str) -> RunnableConfig:
        return {
            "configurable": {
                "thread_id": self.thread_id,
                "checkpoint_ns": self.checkpoint_ns,
                "checkpoint_id": checkpoint_id,
            }
        }


def thread_of(thread_id: object) -> str:
    """The thread's id as a text; 1 and "1" are the same thread."""
    if isinstance(thread_id, bool) or not isinstance(thread_id, (str, int)):
        problem = "is missing" if thread_id is None else f"is a text or an int, not {type(thread_id).__name__}"
        raise ValidationError(TABLE, f"thread_id {problem}", "give config={'configurable': {'thread_id': …}}")
    return str(thread_id)


def place_of(config: RunnableConfig) -> Namespace:
    configurable = config.get("configurable") or {}
    return Namespace(thread_of(configurable.get("thread_id")), configurable.get("checkpoint_ns") or "")


def checkpoint_parts(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    serde: SerializerProtocol,
) -> list[Part]:
    """The rows of one checkpoint: itself, and the values of the channels that changed with it."""
    place = place_of(config)
    values = checkpoint["channel_values"]
    plain = get_serializable_checkpoint_metadata(config, metadata)
    bare = {name: value for name, value in checkpoint.items() if name != "channel_values"}
    short = {name: values[name] for name in checkpoint["channel_versions"] if name in values and is_short(values[name])}
    run_id = plain.get("run_id")
    blobs = [
        _part(place, "blob", str(version), channel, serde, values[channel])
        for channel, version in new_versions.items()
        if channel in values and channel not in short
    ]
    own = _part(place, "checkpoint", checkpoint["id"], "", serde, (bare, plain, short))
    own["parent_id"] = (config.get("configurable") or {}).get("checkpoint_id") or NULL
    own["run_id"] = NULL if run_id is None else str(run_id)
    own["metadata"] = searchable(cast("Mapping[str, Any]", plain))
    others = dict.fromkeys(("parent_id", "run_id", "metadata"), NULL)
    return [*({**blob, **others} for blob in blobs), own]


def is_short(value: Any) -> bool:
    """Whether the value of a channel stands in each checkpoint, and needs no row of its own."""
    return value is None or type(value) in (bool, int, float) or (type(value) is str and len(value) <= SHORT_CHARS)


def write_parts(
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    serde: SerializerProtocol,
) -> list[Part]:
    """The rows of a task's writes; of several under one index, the last."""
    place, checkpoint_id = place_of(config), (config.get("configurable") or {}).get("checkpoint_id")
    if not checkpoint_id:
        raise ValidationError(TABLE, "writes belong to a checkpoint: configurable has no checkpoint_id")
    parts: dict[int, Part] = {}
    for position, (channel, value) in enumerate(writes):
        index = WRITES_IDX_MAP.get(channel, position)
        part = _part(place, "write", checkpoint_id, task_id, serde, value)
        parts[index] = {**part, "idx": index, "channel": channel, "task_path": task_path}
    return list(parts.values())


def _part(place: Namespace, kind: str, ref: str, name: str, serde: SerializerProtocol, value: Any) -> Part:
    type_name, data = serde.dumps_typed(value)
    return {
        **place.filters,
        "kind": kind,
        "ref": ref,
        "name": name,
        "idx": 0,
        "type": type_name,
        "value": b64encode(data).decode("ascii"),
    }


def is_special(part: Part) -> bool:
    """Whether the last write under its index counts: an error, a schedule, an interrupt or a resumption."""
    return bool(part["idx"] < 0)


def searchable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The texts, booleans and whole numbers of the metadata, by which the database narrows a search."""
    return {key: value for key, value in metadata.items() if is_exact(key) and is_exact(value)}


def matches(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether every key has the wanted value, compared as JSON; None is null or missing."""
    return all(equal(metadata.get(key), value) for key, value in wanted.items())


def loaded(part: Row, serde: SerializerProtocol) -> Any:
    return serde.loads_typed((part["type"], b64decode(part["value"])))


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint as it is stored: everything but what its blobs and writes hold."""

    place: Namespace
    id: str
    parent_id: str | None
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    short: Mapping[str, Any]
    """The values of channels that stand in the checkpoint itself."""

    @classmethod
    def of(cls, row: Row, serde: SerializerProtocol) -> Stored:
        checkpoint, metadata, short = loaded(row, serde)
        place = Namespace(row["thread_id"], row["checkpoint_ns"])
        return cls(place, row["ref"], row["parent_id"], checkpoint, metadata, short)

    @property
    def versions(self) -> set[tuple[str, str]]:
        """The blobs that it refers to, as channel and version."""
        versions = self.checkpoint["channel_versions"]
        return {(channel, str(version)) for channel, version in versions.items() if channel not in self.short}

    @property
    def refs(self) -> list[str]:
        """What the rows of its blobs and writes have as `ref`."""
        return [self.id, *sorted({version for _, version in self.versions})]

    def whole(self, parts: Iterable[Row], serde: SerializerProtocol) -> CheckpointTuple:
        """The checkpoint with what belongs to it of the parts, which are all of its namespace."""
        versions = self.versions
        found: dict[str, Any] = dict(self.short)
        writes: list[tuple[tuple[str, str, int], PendingWrite]] = []
        for part in parts:
            if part["kind"] == "blob" and (part["name"], part["ref"]) in versions:
                found[part["name"]] = loaded(part, serde)
            elif part["kind"] == "write" and part["ref"] == self.id:
                order = writes_sort_key(part["task_path"] or "", part["name"], part["idx"])
                writes.append((order, (part["name"], part["channel"], loaded(part, serde))))
        values = {channel: found[channel] for channel in self.checkpoint["channel_versions"] if channel in found}
        return CheckpointTuple(
            config=self.place.config(self.id),
            checkpoint=cast("Checkpoint", {**self.checkpoint, "channel_values": values}),
            metadata=self.metadata,
            parent_config=self.place.config(self.parent_id) if self.parent_id else None,
            pending_writes=[write for _, write in sorted(writes, key=lambda ordered: ordered[0])],
        )

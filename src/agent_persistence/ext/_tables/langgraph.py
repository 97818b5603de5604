"""The tables of LangGraph's checkpointer and of its store."""

from __future__ import annotations

from typing import Final

from agent_persistence.ext._tables.own_tables import OwnTables
from agent_persistence.schema.registry import Column, Generated, Table

_TEXT: Final = Column("text", nullable=False)
_OPTIONAL: Final = Column("text")

PARTS: Final = "langgraph_checkpoint_parts"
CHECKPOINTS: Final = OwnTables(
    {
        PARTS: Table(
            {
                "thread_id": _TEXT,
                "checkpoint_ns": _TEXT,
                "kind": Column("text", nullable=False, one_of=("blob", "checkpoint", "write")),
                "ref": _TEXT,
                "name": _TEXT,
                "idx": Column("integer", nullable=False),
                "parent_id": _OPTIONAL,
                "run_id": _OPTIONAL,
                "metadata": Column("jsonb"),
                "channel": _OPTIONAL,
                "task_path": _OPTIONAL,
                "type": _TEXT,
                "value": _TEXT,
                "created_at": Column("timestamptz", nullable=False, default=Generated.NOW),
            },
            primary_key=("thread_id", "checkpoint_ns", "kind", "ref", "name", "idx"),
        )
    },
    indexes=((PARTS, ("run_id",)),),
)
"""`ref` is the checkpoint's id, or the version of a blob; `name` the task of a write, or the channel of a blob."""

ITEMS: Final = "langgraph_store_items"
MEMORIES: Final = OwnTables(
    {
        ITEMS: Table(
            {
                "namespace": _TEXT,
                "key": _TEXT,
                "value": _TEXT,
                "searchable": Column("jsonb", nullable=False),
                "vectors": Column("text"),
                "ttl_minutes": Column("double precision"),
                "expires_at": Column("timestamptz"),
                "created_at": Column("timestamptz", nullable=False, default=Generated.NOW),
                "updated_at": Column("timestamptz", nullable=False),
            },
            primary_key=("namespace", "key"),
        )
    },
    indexes=((ITEMS, ("expires_at",)),),
)

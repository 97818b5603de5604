"""What the five tables of a context are to each other and in a prompt: the one place that knows their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Parent:
    """`column` holds the key of a row of `table`; where it is not the table to stand under, it is told as `told_as`."""

    column: str
    table: str
    told_as: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """One table: `tag` names its records in a prompt, `prefix` begins their references.

    A record stands under the first of `parents`; with `needs_parent` it means nothing without. `labels` are columns
    told beside its reference, `body` is the one column that is told besides, without its name. `is_told_in_order` says
    that records are told from the oldest to the newest.
    """

    table: str
    tag: str
    prefix: str
    parents: tuple[Parent, ...] = ()
    labels: tuple[str, ...] = ()
    body: str | None = None
    needs_parent: bool = False
    is_told_in_order: bool = False
    key: str = "id"
    time: str = "created_at"

    @property
    def structure(self) -> frozenset[str]:
        """The columns that the shape of a prompt tells: keys, parents, time and labels."""
        return frozenset({self.key, self.time, *self.labels, *(parent.column for parent in self.parents)})


_ALL: Final = (
    Entity("clients", "client", "c"),
    Entity("campaigns", "campaign", "p", (Parent("client_id", "clients"),)),
    Entity("leads", "lead", "l", (Parent("client_id", "clients"), Parent("campaign_id", "campaigns", "campaign"))),
    Entity(
        "conversations", "conversation", "v", (Parent("lead_id", "leads"),), needs_parent=True, is_told_in_order=True
    ),
    Entity(
        "messages",
        "message",
        "m",
        (Parent("conversation_id", "conversations"),),
        labels=("role",),
        body="content",
        needs_parent=True,
        is_told_in_order=True,
    ),
)
ENTITIES: Final[Mapping[str, Entity]] = MappingProxyType({entity.table: entity for entity in _ALL})
"""By table; parents first."""

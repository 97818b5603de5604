"""Values that are known only when an earlier operation of the same unit of work has been carried out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from agent_persistence.exceptions import ValidationError
from agent_persistence.query.predicates import Filter, comparisons
from agent_persistence.query.records import Deferred


@dataclass(frozen=True, slots=True)
class Reference(Deferred):
    """A column of a row that the `part`th operation of a unit, from 0, returns. It stands in for a whole value."""

    belongs: ClassVar[str] = "a column of a handle stands in records and filters of its own unit of work alone"

    part: int
    row: int
    column: str
    owner: object = field(default=None, compare=False, repr=False)
    """The unit that it belongs to."""


def references_in(predicate: Filter | None) -> Iterator[Reference]:
    """Every reference that the filter compares with."""
    return (leaf.operand for leaf in comparisons(predicate) if isinstance(leaf.operand, Reference))


def outside(table: object) -> ValidationError:
    """The error of a handle's column in a call that is no part of its unit."""
    return ValidationError(table, Reference.belongs)

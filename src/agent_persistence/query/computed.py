"""Changes that the database computes of the value that is there, in the statement that writes them.

    update("leads", {"score": increment(1), "profile": merge({"city": "Valletta"}), "status": "open"}, {"id": lead_id})

Two of them at the same time both count: none of them writes what it has read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from agent_persistence.exceptions import ValidationError
from agent_persistence.query.records import Deferred, Record, as_mapping, encode_value

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Increment(Deferred):
    """The number that is there, and `operand` more: a number, or the digits of a Decimal."""

    belongs: ClassVar[str] = "increment(…) stands for the whole value of a column in the changes of an update"

    operand: int | float | str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Merge(Deferred):
    """The JSON object that is there, with the keys of `operand` in the place of its own."""

    belongs: ClassVar[str] = "merge(…) stands for the whole value of a column in the changes of an update"

    operand: dict[str, Any] = field(repr=False)


Computed: TypeAlias = Increment | Merge


def increment(by: float | Decimal = 1) -> Increment:
    """The column gets `by` more, less where it is negative; in `update` alone, for columns of numbers.

    `by` is read as a value of the column's type: a half is refused for integers, a Decimal is added exactly. NULL stays
    NULL, as in SQL. A result that the type does not hold is the database's error (22003), and nothing changes.
    """
    if isinstance(by, bool) or not isinstance(by, (int, float, Decimal)):
        raise ValidationError("increment", f"by is a number, not {type(by).__name__}")
    return Increment(encode_value("increment", by, "by"))


def merge(document: Mapping[str, Any] | BaseModel) -> Merge:
    """The keys of `document` are set in the object that the column holds; in `update` alone, for columns of jsonb.

    One level deep, as `||` does it: a key that is there gets the new value whole, and None is stored as JSON's null.
    NULL becomes the document. A row that holds a list or a plain value is the database's error (22023), and nothing
    changes.
    """
    given = as_mapping("merge", document, "document", only_set=True)
    if not given:
        raise ValidationError("merge", "the document has no keys; there is nothing to merge")
    return Merge(encode_value("merge", dict(given), "document"))


def computed_in(changes: Record) -> dict[str, Computed]:
    """The changes that the database computes."""
    return {name: value for name, value in changes.items() if isinstance(value, (Increment, Merge))}


def operands(changes: Record) -> Record:
    """The changes with what is added or merged in the place of what is computed of it."""
    return {name: value.operand if isinstance(value, (Increment, Merge)) else value for name, value in changes.items()}

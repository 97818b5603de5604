"""What a column gets that is computed of the value that is there."""

from __future__ import annotations

from typing import Any

from agent_persistence.backends.memory.numbers import add_exactly, number, read_numeric
from agent_persistence.backends.memory.refusals import NoSuchOperatorError, NotOfTypeError, TwinCannotTellError
from agent_persistence.backends.memory.types import PgType, sent
from agent_persistence.query.computed import Computed, Increment


def computed(column: str, kind: PgType, value: Any, change: Computed) -> Any:
    """The stored value of what the change, whose operand is stored as one of this type, makes of this stored value.

    Where no type is known, numbers are added exactly, as numeric.
    """
    if kind.kind == "unknown":
        raise TwinCannotTellError("what is computed of types of extensions")
    if not isinstance(change, Increment):
        return _merged(column, kind, value, change.operand)
    if kind.kind == "any":
        return None if value is None else _untyped_sum(column, value, change.operand)
    if kind.add is None:
        raise NoSuchOperatorError("42883", "+", column)
    return None if value is None else kind.store(kind.add(value, change.operand))


def _untyped_sum(column: str, value: Any, more: Any) -> Any:
    if isinstance(value, (bool, str, list, dict)):
        raise NoSuchOperatorError("42883", "+", column)
    total = read_numeric(add_exactly(read_numeric(sent(value)), read_numeric(sent(more))))
    return total if isinstance(total, int) else number(total)


def _merged(column: str, kind: PgType, value: Any, document: dict[str, Any]) -> dict[str, Any]:
    if kind.kind not in ("jsonb", "any"):
        raise NoSuchOperatorError("42883", "||", column)
    if value is not None and not isinstance(value, dict):
        raise NotOfTypeError("22023", "object")
    return {**(value or {}), **document}

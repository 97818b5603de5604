"""An item of LangGraph's store as a row, and back; and what its filters mean. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from langgraph.store.base import Item, MatchCondition, PutOp, SearchItem

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.ext._json_values import equal, is_exact, json_text
from agent_persistence.ext._tables.langgraph import ITEMS as TABLE
from agent_persistence.query.filters import Filters, any_of, contains, gt, gte, lt
from agent_persistence.query.records import NULL, Row

SHOWN: Final = ("namespace", "key", "value", "ttl_minutes", "created_at", "updated_at")
_BEHIND_ALL: Final = "\U0010ffff"
_MAX_SEARCHABLE: Final = 200
"""Characters of a text by which the database narrows a search; longer ones are compared here."""


def written(namespace: Sequence[str]) -> str:
    """The namespace as one text: each label as JSON and a comma, so that whole labels are a prefix of it."""
    return "".join(f"{_label(label)}," for label in namespace)


def _label(label: object) -> str:
    if not isinstance(label, str):
        raise ValidationError(TABLE, f"a namespace is a tuple of texts; it holds {type(label).__name__}")
    return json_text(label)


def read(namespace: str) -> tuple[str, ...]:
    return tuple(json.loads(f"[{namespace.removesuffix(',')}]"))


def below(prefix: Sequence[str]) -> list[Filters]:
    """The filter for the namespaces that begin with these labels; nothing for all of them."""
    if not prefix:
        return []
    first = written(prefix)
    return [{"namespace": gte(first)}, {"namespace": lt(first + _BEHIND_ALL)}]


def alive(now: datetime) -> Filters:
    """The items that have not expired."""
    return any_of({"expires_at": None}, {"expires_at": gt(now)})


def record(put: PutOp, vectors: Mapping[str, str] | None, now: datetime) -> dict[str, Any]:
    """The row that a put stores. The time of its creation is the database's, and stays when the item is put again."""
    text = _checked(put)
    expires_at = NULL if put.ttl is None else now + timedelta(minutes=put.ttl)
    return {
        "namespace": written(put.namespace),
        "key": put.key,
        "value": text,
        "searchable": searchable(put.value or {}),
        "vectors": json.dumps(vectors) if vectors else NULL,
        "ttl_minutes": NULL if put.ttl is None else put.ttl,
        "expires_at": expires_at,
        "updated_at": now,
    }


def _checked(put: PutOp) -> str:
    """The value as text, if it is a JSON object that comes back as it is."""
    value = put.value
    if not isinstance(value, dict):
        raise ValidationError(TABLE, f"the value of {printable(put.key)} is a dict, not {type(value).__name__}")
    try:
        text = json_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(TABLE, f"the value of {printable(put.key)} is no JSON object: {error}") from error
    if not equal(json.loads(text), value):
        raise ValidationError(TABLE, f"the value of {printable(put.key)} has keys that are no texts, or other non-JSON")
    return text


def item(row: Row) -> Item:
    return Item(**_fields(row))


def found(row: Row, score: float | None = None) -> SearchItem:
    return SearchItem(**_fields(row), score=score)


def _fields(row: Row) -> dict[str, Any]:
    created_at, updated_at = (
        datetime.fromisoformat(row[name]).astimezone(UTC) for name in ("created_at", "updated_at")
    )
    return {
        "namespace": read(row["namespace"]),
        "key": row["key"],
        "value": json.loads(row["value"]),
        "created_at": created_at,
        "updated_at": max(created_at, updated_at),  # the first time is the database's, the second is ours
    }


def searchable(value: Mapping[str, Any]) -> dict[str, Any]:
    """The short texts, booleans and whole numbers of a value, by which the database narrows a search."""
    return {key: entry for key, entry in value.items() if is_exact(key) and _is_short(entry)}


def _is_short(entry: Any) -> bool:
    return is_exact(entry) and not (isinstance(entry, str) and len(entry) > _MAX_SEARCHABLE)


def narrowed(wanted: Mapping[str, Any] | None) -> list[Filters]:
    """What the database can say of a filter of LangGraph's: the equalities with plain values."""
    equalities = {}
    for key, value in (wanted or {}).items():
        plain = value["$eq"] if isinstance(value, dict) and value.keys() == {"$eq"} else value
        if is_exact(key) and _is_short(plain):
            equalities[key] = plain
    return [{"searchable": contains(equalities)}] if equalities else []


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Whether the value has what a filter of LangGraph's wants. Nothing is raised for a value of another type."""
    return all(_meets(value.get(key), condition) for key, condition in (wanted or {}).items())


def check_filter(wanted: Mapping[str, Any] | None) -> None:
    """Refuse operators that are not known, before anything is asked for."""
    for condition in (wanted or {}).values():
        if isinstance(condition, dict):
            if unknown := [name for name in condition if str(name).startswith("$") and name not in _OPERATORS]:
                known = ", ".join(sorted(_OPERATORS))
                raise ValidationError(TABLE, f"the operator {printable(unknown[0])} is not known: {known} are")
            check_filter(condition)


def _meets(value: Any, condition: Any) -> bool:
    if isinstance(condition, dict):
        if any(str(name).startswith("$") for name in condition):
            return all(_OPERATORS[name](value, operand) for name, operand in condition.items())
        return isinstance(value, dict) and all(_meets(value.get(key), part) for key, part in condition.items())
    return equal(value, condition)


def _ordered(one: Any, other: Any) -> int | None:
    """-1, 0 or 1 for two numbers or two texts; None for what has no order."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other))
    if numbers or (isinstance(one, str) and isinstance(other, str)):
        return int(one > other) - int(one < other)
    return None


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$eq": equal,
    "$ne": lambda value, operand: not equal(value, operand),
    "$gt": lambda value, operand: _ordered(value, operand) == 1,
    "$gte": lambda value, operand: _ordered(value, operand) in (0, 1),
    "$lt": lambda value, operand: _ordered(value, operand) == -1,
    "$lte": lambda value, operand: _ordered(value, operand) in (-1, 0),
}


def fits(condition: MatchCondition, namespace: Sequence[str]) -> bool:
    """Whether a namespace begins or ends as a condition says, where "*" is any label."""
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    if condition.match_type not in ("prefix", "suffix"):
        raise ValidationError(TABLE, f"a namespace is matched by prefix or suffix, not {condition.match_type!r}")
    labels = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, labels, strict=True))


def fixed_prefix(conditions: Sequence[MatchCondition]) -> tuple[str, ...]:
    """The labels with which every namespace begins that meets the conditions, as far as one of them says."""
    longest: tuple[str, ...] = ()
    for condition in conditions:
        if condition.match_type == "prefix":
            path = tuple(condition.path)
            labels = path[: path.index("*")] if "*" in path else path
            longest = max(longest, labels, key=len)
    return longest

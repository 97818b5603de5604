"""Rows to look at, and how a law says what it expects, without a test framework."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.exceptions import PersistenceError
from agent_persistence.query.records import Row, encode_record


def as_json(**values: Any) -> dict[str, Any]:
    return encode_record("contract", values)


def equal(actual: object, expected: object, about: str = "") -> None:
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r} {about}".rstrip())


def true(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)


Error = TypeVar("Error", bound=PersistenceError)


async def raised(error_class: type[Error], call: Awaitable[Row | list[Row] | int | None]) -> Error:
    try:
        returned = await call
    except error_class as error:
        return error
    raise AssertionError(f"expected {error_class.__name__}, got {returned!r}")


async def scored_leads(adapter: PersistenceAdapter) -> None:
    await adapter.batch_write(
        "leads",
        [
            {"email": f"{name}@a.example", "score": score, "is_qualified": qualified, "company": company}
            for name, score, qualified, company in (
                ("a", 0.1, True, "Acme"),
                ("b", 0.5, False, "acme ltd"),
                ("c", None, None, "B_C"),
                ("d", 0.9, True, None),
            )
        ],
    )

"""Whose rows a service works on: what may say so, and how it shows."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from agent_persistence import AsyncPersistenceService, ConfigurationError
from agent_persistence.policy.tenant import TenantScope
from tests.doubles import Lying, RecordingAdapter, shown

ID = "5F0C1A52-58A4-4D0E-9D3A-0C2F4A6B8E10"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "\t\n", "a\0b", "\ud800", True, False, 1.0, Decimal(1), b"a", 2**63, -(2**64), 10**400),
        *([], ["a"], (), {}, {"a": 1}, {"a"}, object(), Lying("a", "b"), Text("a"), Number(1), ValueError),
    ],
    ids=shown,
)
def test_what_is_no_tenant_is_refused_at_construction(value: Any) -> None:
    """None, empty and every other type: a service without a tenant would be one for all of them."""
    with pytest.raises(ConfigurationError, match="a tenant is a text"):
        TenantScope(value)


@pytest.mark.parametrize(
    ("value", "kept"), [("acme", "acme"), (7, 7), (0, 0), (UUID(ID), ID.lower()), (ID, ID.lower()), (" a", " a")]
)
def test_a_tenant_is_kept_as_it_comes_back(value: Any, kept: str | int) -> None:
    """A uuid in lower case, as PostgreSQL prints it; anything else as it is."""
    assert TenantScope(value).value == kept


@pytest.mark.parametrize(
    "options",
    [
        {"column": ""},
        {"column": "tenant->>id"},
        {"column": None},
        {"column": "a\0b"},
        {"shared": "clients"},
        {"shared": ["a" * 64]},
        {"shared": None},
        {"arguments": {"f": "Tenant"}},
        {"arguments": {"f()": "tenant"}},
        {"arguments": {"f": None}},
        {"arguments": ["f"]},
        {"arguments": {"f": "tenant"}, "shared": ["f"]},
    ],
    ids=shown,
)
def test_names_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    """Of the column, the shared tables, the functions and their arguments; a function cannot be shared and not."""
    with pytest.raises(ConfigurationError):
        TenantScope("acme", **options)


def test_a_scope_is_frozen_and_copies_what_it_is_given() -> None:
    """Edits of the collections have no effect."""
    shared, arguments = {"clients"}, {"search": "tenant"}
    scope = TenantScope("acme", shared=shared, arguments=arguments)
    shared.add("leads")
    arguments["purge"] = "tenant"
    assert scope.shared == {"clients"}
    assert dict(scope.arguments) == {"search": "tenant"}
    with pytest.raises((FrozenInstanceError, TypeError)):
        scope.value = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        scope.arguments["purge"] = "tenant"  # type: ignore[index]


def test_the_repr_does_not_say_whose_it_is() -> None:
    """A tenant is a value of rows and filters."""
    assert "acme-corp" not in repr(TenantScope("acme-corp"))


@pytest.mark.parametrize("tenant", ["acme", 7, {"tenant_id": "acme"}, TenantScope], ids=shown)
def test_a_service_takes_a_scope_and_nothing_that_looks_like_one(tenant: Any) -> None:
    """The caller's filters and the trusted scope are different types."""
    with pytest.raises(ConfigurationError, match="tenant is a TenantScope"):
        AsyncPersistenceService(RecordingAdapter(), tenant=tenant)

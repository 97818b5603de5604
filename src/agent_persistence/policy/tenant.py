"""Whose rows a service works on, as a value that only trusted code makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.operations import Scope
from agent_persistence.policy.tables import table_names
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.query.predicates import Comparison, Filter, Operator
from agent_persistence.schema.checks import check_column_name, located


@dataclass(frozen=True, slots=True, init=False)
class TenantScope:
    """Holds every call of a service within the rows of one tenant.

    `column` has the tenant in every table but those in `shared`, which belong to all: whether a tenant may write these
    says the policy. Reads, updates and deletes see the tenant's rows alone; what is written gets the tenant's value,
    and a record that names another is refused. `arguments` says which argument of a database function takes the tenant;
    a function that is neither there nor in `shared` is not called. `value` comes from authentication, never from a
    model's output.
    """

    value: Any = field(repr=False)
    column: str
    shared: frozenset[str]
    arguments: Mapping[str, str]

    def __init__(
        self,
        value: str | int | UUID,
        *,
        column: str = "tenant_id",
        shared: Iterable[str] = (),
        arguments: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        object.__setattr__(self, "value", _tenant(value))
        object.__setattr__(self, "column", _column(column))
        object.__setattr__(self, "shared", table_names("shared", shared))
        if not isinstance(arguments, Mapping):
            raise ConfigurationError("arguments maps a function to the name of its argument that takes the tenant")
        checked = {_name("arguments", function): _name("arguments", name) for function, name in arguments.items()}
        for function in checked:
            if function in self.shared:
                raise ConfigurationError(f"{function} is in arguments and in shared: it gets the tenant, or does not")
        object.__setattr__(self, "arguments", MappingProxyType(checked))

    def of(self, value: str | int | UUID) -> TenantScope:
        """The same tables and functions for another tenant."""
        return TenantScope(value, column=self.column, shared=self.shared, arguments=self.arguments)

    def __hash__(self) -> int:
        return hash((self.value, self.column))

    @property
    def rows(self) -> Filter:
        """What holds for the tenant's rows, and for no others, in a table that is not shared."""
        return Comparison(Operator.EQ, self.value, self.column)

    @property
    def scope(self) -> Scope:
        """These rows; every row that is written has the tenant's value."""
        return Scope(self.rows, {self.column: self.value})


_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""PostgreSQL prints it in lower case."""


def _tenant(value: object) -> str | int:
    if type(value) is int and abs(value) < 2**63:
        return value
    if type(value) is UUID:
        return str(value)
    if type(value) is str and value.strip() and "\0" not in value and _is_unicode(value):
        return value.lower() if _UUID.fullmatch(value) else value
    found = "a text that is empty or no Unicode" if isinstance(value, str) else f"this {type(value).__name__}"
    raise ConfigurationError(f"a tenant is a text that is not empty, a bigint or a UUID, not {found}")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _column(name: object) -> str:
    """The name, which the schema must declare where it is no plain one: the guard refuses it otherwise."""
    with located("column"):
        check_column_name(name)
    return str(name)


def _name(option: str, name: object) -> str:
    if type(name) is not str or not is_identifier(name):
        raise ConfigurationError(f"{option}: {printable(name)} is no plain name; lower-case letters, digits and _")
    return name

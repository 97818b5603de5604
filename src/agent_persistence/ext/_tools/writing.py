"""The tools that write: only those that were named, each for the tables that were named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID, uuid5

from pydantic import Field, SecretStr

from agent_persistence.exceptions import ConfigurationError, ConflictError, TableNotAllowedError, ValidationError
from agent_persistence.ext._tools.bounding import document, that_fit
from agent_persistence.ext._tools.catalogue import type_text
from agent_persistence.ext._tools.inputs import FilterObject, Table
from agent_persistence.ext._tools.reading import PAGE, AnswerBounds
from agent_persistence.ext._tools.tool import ModelTool, ToolArguments, Tools
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.policy.filter_json import parse_filters
from agent_persistence.policy.identity import Identity, unverified_claims
from agent_persistence.policy.tables import table_names
from agent_persistence.query.records import NULL, Row

MAX_CHANGED: Final = 100
"""The most rows that one call of `update_rows` may be asked to change."""
_NAMESPACE: Final = UUID("6f5b3f0e-3c0c-5d5e-9c57-6b0a3c9a8f41")
"""Of the keys of rows that `write_row` makes from request keys (RFC 9562, section 5.5)."""
_WRITTEN: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"rows": PAGE["properties"]["rows"], "cut": PAGE["properties"]["cut"]},
    "required": ["rows"],
}
Record = Annotated[dict[str, Any], Field(description="The columns and their values.")]


class WriteArguments(ToolArguments):
    table: Table
    record: Record
    request_key: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            description="A text of your own for this one row. The same call again gives the row that is there.",
        ),
    ]


class UpsertArguments(ToolArguments):
    table: Table
    record: Record


class UpdateArguments(ToolArguments):
    table: Table
    changes: Annotated[dict[str, Any], Field(description="The columns to set; null empties one.")]
    filters: FilterObject
    max_rows: Annotated[
        int, Field(ge=1, le=MAX_CHANGED, description="Where more rows than these match, none is changed.")
    ] = 1


class Writes:
    """What a model may write: nothing but what is named here, and of that what the agent's policy allows.

    `write` lists tables that get new rows; each has a declared uuid key, from which a call that comes twice is known.
    `upsert` lists tables, or maps them to the columns by which rows are merged, `update` tables of which rows may be
    changed. Nothing deletes.
    """

    def __init__(
        self,
        agent: PersistenceAgent,
        *,
        write: Iterable[str] = (),
        upsert: Iterable[str] | Mapping[str, Sequence[str]] = (),
        update: Iterable[str] = (),
    ) -> None:
        if not isinstance(agent, PersistenceAgent):
            raise ConfigurationError(f"Writes takes a PersistenceAgent, not {type(agent).__name__}")
        self.agent = agent
        self.write = self._allowed("write", write)
        self.upsert = self._allowed("upsert", upsert)
        self.update = self._allowed("update", update)
        self.merges_by = dict(upsert) if isinstance(upsert, Mapping) else dict.fromkeys(self.upsert)
        for table in self.write:
            self.key(table)

    def key(self, table: str) -> str:
        """The uuid column that is the table's key."""
        declared = self.agent.schema.tables.get(table)
        key = declared.primary_key if declared else ()
        if declared is None or len(key) != 1 or declared.columns[key[0]].type != "uuid":
            raise ConfigurationError(
                f"write: {table} has no declared uuid key, by which a call that comes twice would be known; declare it"
                " in the Schema, or name the table in upsert"
            )
        writable = self.agent.service.policy.writable(table)
        if writable is not None and key[0] not in writable:
            raise ConfigurationError(f"write: the policy does not let {table}.{key[0]}, its key, be written")
        return key[0]

    def _allowed(self, option: str, names: Iterable[str]) -> frozenset[str]:
        tables, policy = table_names(option, names), self.agent.service.policy
        refused = sorted(tables - (policy.write & policy.read if option != "write" else policy.write))
        if refused:
            lists = "write" if option == "write" else "write and read"
            raise ConfigurationError(f"{option}: the policy does not list {', '.join(refused)} in {lists}")
        return tables


@dataclass(frozen=True, slots=True)
class WritingTools:
    """The writing tools that were named."""

    writes: Writes
    bounds: AnswerBounds

    def tools(self) -> Tools:
        """By name."""
        return {tool.name: tool for tool in self._made()}

    def _made(self) -> Iterator[ModelTool[Any]]:
        if self.writes.write:
            yield ModelTool(
                name="write_row",
                title="Write a row",
                description=self._description("Insert one row.", self.writes.write, keys=False),
                arguments=WriteArguments,
                run=self._write,
                **_changing(self.writes.write, destroys=False),
            )
        if self.writes.upsert:
            yield ModelTool(
                name="upsert_row",
                title="Insert or merge a row",
                description=self._description(
                    f"Insert one row, or merge it into the one that is there{self._merged_by()}; columns that it"
                    " does not name stay.",
                    self.writes.upsert,
                ),
                arguments=UpsertArguments,
                run=self._upsert,
                **_changing(self.writes.upsert, destroys=True),
            )
        if self.writes.update:
            yield ModelTool(
                name="update_rows",
                title="Change rows",
                description=self._description(
                    "Set columns of the rows that match, in all or none.", self.writes.update
                ),
                arguments=UpdateArguments,
                run=self._update,
                **_changing(self.writes.update, destroys=True),
            )

    def _description(self, does: str, tables: Iterable[str], *, keys: bool = True) -> str:
        lines = [f"{table}({', '.join(self._columns(table, keys=keys))})" for table in sorted(tables)]
        return "\n".join([f"{does} Columns that may be written:", *lines])

    def _columns(self, table: str, *, keys: bool) -> list[str]:
        """What may be written into the table, with its key or without."""
        writable = self.writes.agent.service.policy.writable(table)
        declared = self.writes.agent.schema.columns(table)
        left_out = () if keys else (self.writes.key(table),)
        known = {name: f"{name} {type_text(column)}" for name, column in declared.items()}
        names = [name for name in declared if writable is None or name in writable] or sorted(writable or ())
        return [known.get(name, name) for name in names if name not in left_out]

    def _merged_by(self) -> str:
        keys = [f"{table} by {', '.join(columns)}" for table, columns in self.writes.merges_by.items() if columns]
        return f" ({'; '.join(keys)})" if keys else ""

    async def _write(self, agent: PersistenceAgent, asked: WriteArguments) -> bytes:
        """The row; the one that is there, if this call came before."""
        _check_named(asked.table, self.writes.write, "write")
        column = self.writes.key(asked.table)
        if column in asked.record:
            raise ValidationError(asked.table, f"{column} is made from request_key; leave it out of the record")
        key = await _key_of(agent, asked)
        try:
            row = await agent.write(asked.table, {**asked.record, column: key})
        except ConflictError:
            found = await agent.read(asked.table, key, column) if asked.table in agent.service.policy.read else None
            if found is None:
                raise
            row = found
        return self._shown([row])

    async def _upsert(self, agent: PersistenceAgent, asked: UpsertArguments) -> bytes:
        _check_named(asked.table, self.writes.upsert, "upsert")
        record = _with_nulls(asked.record)
        return self._shown([await agent.upsert(asked.table, record, self.writes.merges_by.get(asked.table))])

    async def _update(self, agent: PersistenceAgent, asked: UpdateArguments) -> bytes:
        _check_named(asked.table, self.writes.update, "update")
        changes, filters = _with_nulls(asked.changes), parse_filters(asked.filters)
        return self._shown(await agent.update(asked.table, changes, filters, max_affected=asked.max_rows))

    def _shown(self, rows: list[Row]) -> bytes:
        fitting, cut = that_fit(rows, self.bounds.max_bytes * 3 // 4)
        return document(fitting, {"changed": len(rows), "cut": cut})


def _changing(tables: Iterable[str], *, destroys: bool) -> dict[str, Any]:
    return {
        "properties": {"table": {"enum": sorted(tables)}},
        "output": _WRITTEN,
        "reads_only": False,
        "destroys": destroys,
    }


def _check_named(table: str, named: frozenset[str], verb: str) -> None:
    """Refuse a table that the tool was not given, though the agent's policy may list it for other code."""
    if table not in named:
        raise TableNotAllowedError(table, verb, named)


async def _key_of(agent: PersistenceAgent, asked: WriteArguments) -> str:
    """The key of the row: the same for the same call of the same user, another one for anything else."""
    named = [asked.table, asked.request_key, asked.record, *_principal(await agent._identify())]
    return str(uuid5(_NAMESPACE, json.dumps(named, sort_keys=True, default=str)))


def _principal(identity: Identity) -> tuple[Any, Any, Any]:
    """Whose call it is, as far as two users' calls must not be taken for one."""
    claims: Mapping[str, Any] = {}
    if isinstance(identity.access_token, SecretStr):
        claims = unverified_claims(identity.access_token)
    elif identity.claims is not None:
        claims = json.loads(identity.claims.get_secret_value())
    tenant = identity.tenant
    return claims.get("iss"), claims.get("sub"), None if tenant is None else str(tenant.value)


def _with_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: NULL if value is None else value for name, value in record.items()}

"""OpenAI Agents SDK: a session over an agent, wherever it keeps its rows.

schema = Schema({**yours.tables, **AgentSession.tables()})
result = await Runner.run(assistant, "Hello", session=AgentSession(agent, "ada-1"))
print(AgentSession.sql())      # for the owner of the database to read and run

Memory needs no SQL. Nothing here makes a table by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from uuid import uuid4

from agent_persistence._extras import command_for
from agent_persistence.client.verbs import AllVerbs
from agent_persistence.exceptions import (
    ConfigurationError,
    ConflictError,
    OutcomeUnknownError,
    ValidationError,
)
from agent_persistence.ext._json_values import json_text
from agent_persistence.ext._tables.checking import checked_agent
from agent_persistence.ext._tables.openai_agents import ITEMS as TABLE, SESSIONS
from agent_persistence.ext._tables.owning import OwnerColumn
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.query.filters import Filters, all_of, any_of, lt, lte
from agent_persistence.query.ordering import desc
from agent_persistence.query.records import NULL, Row
from agent_persistence.schema.registry import Table
from agent_persistence.service import AsyncPersistenceService

if TYPE_CHECKING:
    from agents import SessionSettings
    from agents.items import TResponseInputItem

try:
    import agents  # noqa: F401  the package itself, whatever of it is loaded
    from agents.memory.session_settings import coerce_session_settings, resolve_session_limit
except ImportError as error:
    remedy = command_for("openai-agents")
    raise ConfigurationError(f"this integration needs openai-agents: {remedy}") from error

__all__ = ["AgentSession", "OwnerColumn"]

_SHOWN: Final = ("id", "position", "place", "item")
_ASKED_AT_MOST: Final = 10_000

Position: TypeAlias = tuple[int, int]


class AgentSession:
    """The history of one conversation of the OpenAI Agents SDK, under the agent's policy and user.

        result = await Runner.run(assistant, "Hello", session=AgentSession(agent, "ada-1"))

    Items come back exactly as they were added: the order of their keys, keys that nobody knows, equal items as often
    as they were added. Items of one call are stored by one statement, all or none and once, in their order; between
    calls of several processes the database decides the order, and none is lost. The agent stays open and is the
    caller's to close; errors are this package's.
    """

    def __init__(
        self,
        agent: PersistenceAgent | AsyncPersistenceService,
        session_id: str,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        self._agent: AllVerbs = checked_agent(agent, SESSIONS.tables, "AgentSession")
        self._own: dict[str, Any] = {"session_id": _checked_id(session_id)}
        self._last_read: Position | None = None
        self.session_id = session_id
        settings = {} if session_settings is None else session_settings
        self.session_settings: SessionSettings | None = coerce_session_settings(settings)

    @staticmethod
    def tables(owner: OwnerColumn | None = None) -> dict[str, Table]:
        """The declaration of the table, for the agent's Schema; its name belongs in read, write and delete."""
        return SESSIONS.declared(owner)

    @staticmethod
    def sql(owner: OwnerColumn | None = None, *, db_schema: str = "public", row_level_security: bool = True) -> str:
        """SQL that makes the table, for its owner to read and run. Nothing here runs it."""
        return SESSIONS.sql(owner, db_schema=db_schema, row_level_security=row_level_security)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The newest `limit` items in the order in which they were added; all where neither the call nor the settings
        limit them."""
        most = resolve_session_limit(limit, self.session_settings)
        if most is not None and most <= 0:
            return []
        rows = await self._newest(most)
        self._last_read = _position(rows[0]) if rows else None
        return [_item(row) for row in reversed(rows)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Store all items behind those that are there, or none of them."""
        if items:
            await self._agent.bulk_write(TABLE, [self._record(item) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item away and return it; None where there is none. Two callers never get the same one."""
        while rows := await self._newest(1):
            if await self._claimed(rows[0]["id"]):
                await self._agent.delete(TABLE, {"id": rows[0]["id"]})
                return _item(rows[0])
        return None

    async def clear_session(self) -> None:
        """Delete every item of this session."""
        self._last_read = None
        try:
            await self._agent.delete(TABLE, self._own)
        except OutcomeUnknownError:
            await self._agent.delete(TABLE, self._own)

    async def replace_items(
        self, items: Sequence[TResponseInputItem], *, expected: Sequence[TResponseInputItem]
    ) -> bool:
        """Put the items in the place of the `expected` ones, with which the history begins, by one statement.

        False, and nothing is changed, where the history begins otherwise or somebody replaced it meanwhile. What was
        added behind the expected items stays, behind the new ones.
        """
        rows = (await self._newest(None))[::-1]
        if not expected or [_item(row) for row in rows[: len(expected)]] != [*expected]:
            return not expected and not rows and await self._added(items)
        return await self._replaced(_position(rows[len(expected) - 1]), items)

    async def _atomic_replace_items(self, items: Sequence[TResponseInputItem]) -> bool:
        """What OpenAIResponsesCompactionSession looks for, instead of clearing and adding: the items take the place of
        all that this object has read."""
        if self._last_read is None:
            return False
        return await self._replaced(self._last_read, items)

    async def _added(self, items: Sequence[TResponseInputItem]) -> bool:
        await self.add_items([*items])
        return True

    async def _replaced(self, last: Position, items: Sequence[TResponseInputItem]) -> bool:
        """Hide what stands up to `last` behind the new items, which then are the first; and delete what is hidden."""
        position, place = last
        new: list[dict[str, Any]] = [{**self._own, "item": NULL}, *map(self._record, items)]
        for offset, record in enumerate(new, start=place + 1):
            record |= {"position": position, "place": offset}
        try:
            await self._agent.bulk_write(TABLE, new)
        except ConflictError:
            return False
        self._last_read = None
        hidden: Filters = any_of({"position": lt(position)}, {"position": position, "place": lte(place)})
        await self._agent.delete(TABLE, all_of(self._own, hidden))
        return True

    async def _newest(self, most: int | None) -> list[Row]:
        """The rows that are shown, the newest first."""
        asked = None if most is None or most > _ASKED_AT_MOST else most
        order = [desc("position"), desc("place")]
        rows = await self._agent.query(TABLE, {**self._own, "popped_by": None}, asked, order, select=_SHOWN)
        first_hidden = next((index for index, row in enumerate(rows) if row["item"] is None), len(rows))
        return rows[:first_hidden][:most]

    async def _claimed(self, row_id: str) -> bool:
        """Whether this call, and no other, takes the row."""
        token = str(uuid4())
        own = {"id": row_id, "popped_by": None}
        try:
            return bool(await self._agent.update(TABLE, {"popped_by": token}, own))
        except OutcomeUnknownError:
            row = await self._agent.read(TABLE, row_id)
            return row is not None and row["popped_by"] == token

    def _record(self, item: TResponseInputItem) -> dict[str, Any]:
        try:
            return {**self._own, "item": json_text(item)}
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError(TABLE, f"an item is a JSON object: {error}") from error


def _checked_id(session_id: object) -> str:
    if not isinstance(session_id, str) or not session_id:
        raise ConfigurationError("session_id is a text that is not empty, such as the conversation's id")
    return session_id


def _position(row: Row) -> Position:
    return row["position"], row["place"]


def _item(row: Row) -> TResponseInputItem:
    return cast("TResponseInputItem", json.loads(row["item"]))

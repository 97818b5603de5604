"""The messages of one conversation: what each run added is appended once, and all of it is loaded in order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelRequest, ModelResponse
from pydantic_core import PydanticSerializationError

from agent_persistence.exceptions import AdapterError, ConfigurationError, ConflictError, FailureState, ValidationError
from agent_persistence.ext._tables.pydantic_ai import TABLE
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.query.filters import in_
from agent_persistence.query.records import Row

_NAMESPACE: Final = UUID("0f6d4d35-2c8c-5b0a-9d0e-6a1f9f3f7b52")
"""Of the keys of messages (RFC 9562, section 5.5)."""
_ATTEMPTS: Final = 5
MOST_CHARACTERS: Final = 1_000


class NewMessages(Protocol):
    """The result of a run."""

    def new_messages(self) -> list[ModelMessage]: ...


class ConversationHistory:
    """The stored messages of one conversation, in the table `pydantic_ai_messages`.

    Every message has a key made of the conversation, its run and its place in the run, so that however often and from
    however many processes a run is appended, each of its messages is stored once. It holds nothing itself.
    """

    def __init__(self, agent: PersistenceAgent, conversation_id: str) -> None:
        if TABLE not in agent.schema.tables:
            raise ConfigurationError(
                f"the agent's schema does not declare {TABLE}; make the agent with schema=with_history(your_schema)"
            )
        self._agent = agent
        self.conversation_id = _text("conversation_id", conversation_id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.conversation_id!r})"

    async def load(self) -> list[ModelMessage]:
        """All messages: runs in the order in which they were first appended, each in its own order.

        What they hold is what was appended, to the byte of every text. A history that ends in tool calls takes no new
        prompt; pydantic-ai's `repair_messages` closes them. AdapterError where a row is no message of pydantic-ai's.
        """
        rows = [row async for row in self._agent.iterate(TABLE, self._filters, order_by="seq", select=_LOADED)]
        begun: dict[str, int] = {}
        for row in rows:
            begun.setdefault(row["run_key"], row["seq"])
        rows.sort(key=lambda row: (begun[row["run_key"]], row["position"]))
        try:
            return ModelMessagesTypeAdapter.validate_json("[" + ",".join(row["message"] for row in rows) + "]")
        except ValueError:
            problem = f"{TABLE} holds a row of this conversation that is no message of this version of pydantic-ai"
        raise AdapterError(problem, state=FailureState.REJECTED)

    async def append(self, result: NewMessages | Sequence[ModelMessage], *, key: str | None = None) -> int:
        """Store what a run added, all of it or nothing, and return how many messages are new.

        Give the result of the run, or its `new_messages()`: `all_messages()` may have been shortened on the way. The
        same run appended again adds nothing, and where it went on meanwhile, only the rest. A run that is done anew, by
        a queue or after a crash, has another run id: with a `key` of yours for the job its first result stays, and
        later ones under the same key add nothing.

        OutcomeUnknownError, as for any write; then append the same again.
        """
        rows = await self._rows(list(result) if isinstance(result, Sequence) else result.new_messages(), key)
        for tries_left in reversed(range(_ATTEMPTS)):
            try:
                await self._agent.batch_write(TABLE, rows)
                break
            except ConflictError:
                stored = await self._stored(rows)
                if not stored or not tries_left:
                    raise
                rows = [row for row in rows if row["id"] not in stored] if key is None else []
        return len(rows)

    @property
    def _filters(self) -> dict[str, Any]:
        return {"conversation_id": self.conversation_id}

    async def _stored(self, rows: Sequence[Row]) -> set[str]:
        """The keys of those that are there."""
        keys = in_([row["id"] for row in rows])
        return {row["id"] for row in await self._agent.query(TABLE, {**self._filters, "id": keys}, select=["id"])}

    async def _rows(self, messages: Sequence[ModelMessage], key: str | None) -> list[Row]:
        """A row for each message. Where neither `key` nor a run id names the run, the message itself does."""
        scope = (await self._agent._identify()).tenant
        tenant = None if scope is None else str(scope.value)
        job = None if key is None else f"key:{_text('key', key)}"
        places: Counter[str] = Counter()
        rows = []
        for message in messages:
            text = _json(message)
            run = job or _run(message, text)
            rows.append(self._row(message, text, run, places[run], tenant))
            places[run] += 1
        return rows

    def _row(self, message: ModelMessage, text: str, run: str, position: int, tenant: str | None) -> Row:
        named = [self.conversation_id, run, position, tenant]
        return {
            "id": str(uuid5(_NAMESPACE, json.dumps(named))),
            "conversation_id": self.conversation_id,
            "run_key": run,
            "position": position,
            "kind": message.kind,
            "message": text,
        }


_LOADED: Final = ("run_key", "position", "seq", "message")


def _run(message: ModelMessage, text: str) -> str:
    return f"run:{message.run_id}" if message.run_id else f"message:{sha256(text.encode()).hexdigest()}"


def _text(option: str, given: object) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= MOST_CHARACTERS:
        raise ValidationError(TABLE, f"{option} is a text of 1 to {MOST_CHARACTERS} characters")
    return given


def _json(message: object) -> str:
    with suppress(PydanticSerializationError):
        if isinstance(message, (ModelRequest, ModelResponse)):
            return ModelMessagesTypeAdapter.dump_json([message])[1:-1].decode()
    raise ValidationError(TABLE, f"{type(message).__name__} is no message of pydantic-ai that JSON can hold")

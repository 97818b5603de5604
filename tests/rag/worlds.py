"""Small worlds of rows that several tests of the context builder use."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from agent_persistence import RAGContext
from agent_persistence.query.records import Row

CLIENT = {"id": "c0000000-0000-4000-8000-000000000001", "name": "Northlight", "created_at": "2026-01-01T00:00:00+00:00"}
LEAD = {
    "id": "10000000-0000-4000-8000-000000000001",
    "client_id": CLIENT["id"],
    "email": "a@x.io",
    "created_at": "2026-01-02T00:00:00+00:00",
}
TALK = {
    "id": "20000000-0000-4000-8000-000000000001",
    "lead_id": LEAD["id"],
    "subject": "Price",
    "created_at": "2026-01-03T00:00:00+00:00",
}


def message(number: int, content: str, **columns: Any) -> Row:
    """A message of TALK, a minute after the one before."""
    at = f"2026-01-03T{number // 60:02}:{number % 60:02}:00+00:00"
    return {"id": number, "conversation_id": TALK["id"], "role": "user", "content": content, "created_at": at} | columns


def talk_of(*contents: str) -> RAGContext:
    """The one lead's one conversation, with these messages."""
    messages = [message(number, content) for number, content in enumerate(contents)]
    return RAGContext(clients=[CLIENT], leads=[LEAD], conversations=[TALK], messages=messages)


ANY_TEXT = st.text(st.characters(), max_size=60)
"""Any code points, lone surrogates included."""
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.integers(0, 3)
_TIMES = st.none() | st.sampled_from([f"2026-01-0{day}T00:00:00+00:00" for day in range(1, 6)]) | ANY_TEXT


def rows(*parents: str, fixed: tuple[str, ...] = ()) -> st.SearchStrategy[list[Row]]:
    """Rows whose keys, parents and times often meet, with columns and values of any content."""
    known: dict[str, st.SearchStrategy[Any]] = {"id": _KEYS | ANY_TEXT, "created_at": _TIMES}
    known |= dict.fromkeys(parents, st.none() | _KEYS) | dict.fromkeys(fixed, JSON)
    return st.lists(
        st.builds(
            lambda told, free: {**free, **told},
            st.fixed_dictionaries(known),
            st.dictionaries(ANY_TEXT, JSON, max_size=3),
        ),
        max_size=3,
    )


CONTEXTS = st.builds(
    RAGContext,
    clients=rows(fixed=("name",)),
    campaigns=rows("client_id", fixed=("name",)),
    leads=rows("client_id", "campaign_id", fixed=("notes",)),
    conversations=rows("lead_id", fixed=("subject",)),
    messages=rows("conversation_id", fixed=("role", "content")),
)
"""Contexts of rows of any content."""

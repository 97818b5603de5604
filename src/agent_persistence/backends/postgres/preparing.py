"""Statements that the server parses and plans once for each connection. Pure.

A pooler in transaction mode gives each transaction another session, in which what was prepared may be missing, or be
another client's. It logs its clients in by itself: the process that it names to a connection is then not the one that
answers, and nothing is prepared. Where that is no sign of it, two things keep a call from running what was not meant:
the name of a statement is a hash of its text, so that no other stands under it, and the server refuses what is missing.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

MOST_PREPARED: Final = 100
"""Statements that one connection prepares; its other ones are sent as text."""
_MOST_KNOWN: Final = 1_000
_SESSION_CHANGED: Final = ("26000", "42P05")
"""Codes of a prepared statement that is missing, or there already, though this connection did not make it so."""
_TYPES_CHANGED: Final = ("0A000", "42804", "42846", "42883")
"""Codes of a prepared statement whose result, or the types of whose parameters, no longer fit the table. PostgreSQL
reads its text anew where a table has changed, so that all else would be refused as text, too."""


class Preparing:
    """What the connections of one pool prepare. `wanted` is True, False, or None where each finds out if it may."""

    def __init__(self, wanted: bool | None) -> None:
        self.wanted = wanted
        self.as_text: set[str] = set()
        """Statements that fit no longer what they were prepared for."""

    def learn(self, text: str, code: str) -> bool:
        """Whether a statement that had been prepared may have been refused for that alone; it is sent as text then."""
        if code in _SESSION_CHANGED:
            self.wanted = False
        elif code not in _TYPES_CHANGED:
            return False
        _add(self.as_text, text)
        return True


class PreparedStatements:
    """The names of the statements that one connection has prepared."""

    def __init__(self, preparing: Preparing) -> None:
        self._preparing = preparing
        self.is_direct = False
        """Whether the process that answers is known to be the connection's own."""
        self._seen: set[str] = set()
        self._names: dict[str, bytes] = {}

    @property
    def is_undecided(self) -> bool:
        """Whether it has to be found out if statements can be prepared."""
        return self._preparing.wanted is None

    def name(self, text: str) -> bytes | None:
        """The name by which the statement is sent."""
        name = self._names.get(text)
        return None if name is None or text in self._preparing.as_text or not self._may_prepare() else name

    def new_name(self, text: str) -> bytes | None:
        """The name under which to prepare a statement now: the second time that it is sent, if not too many are."""
        if not self._may_prepare() or len(self._names) >= MOST_PREPARED or text in self._preparing.as_text:
            return None
        if text not in self._seen:
            _add(self._seen, text)
            return None
        name = self._names[text] = b"agent_persistence_" + sha256(text.encode()).hexdigest()[:40].encode()
        return name

    def forget(self, text: str) -> None:
        """It was not prepared."""
        del self._names[text]

    def _may_prepare(self) -> bool:
        return self.is_direct if self._preparing.wanted is None else self._preparing.wanted


def _add(known: set[str], text: str) -> None:
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known.add(text)

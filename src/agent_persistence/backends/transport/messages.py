"""Requests and responses of HTTP, whichever client moves their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_persistence.backends.exact_json import read_json
from agent_persistence.exceptions import AdapterError


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent: `target` is the raw path and query below the project's URL."""

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    error_texts: bool = False
    """Whether an error may repeat what the database's author wrote."""

    @property
    def is_json(self) -> bool:
        """Whether it says so: PostgREST answers in JSON, captive portals and proxies do not."""
        return "json" in self.headers.get("content-type", "")

    def json(self) -> Any:
        """The JSON value in it; None where there is none, or it cannot be read."""
        if not self.is_json:
            return None
        try:
            return read_json(self.body)
        except ValueError:
            return None


class MisdeliveredError(AdapterError):
    """The response is that of another request: whoever sent it has lost count, and so the connection is closed."""

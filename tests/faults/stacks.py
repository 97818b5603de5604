"""What a call goes through: the client below the adapter, and whether calls made at once share their requests."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_persistence import SupabaseAdapter
from agent_persistence.adapters.supabase import Transport


@dataclass(frozen=True, slots=True)
class Stack:
    """One way to put adapter and service together."""

    transport: Transport
    coalesce: bool = False

    def __str__(self) -> str:
        return f"{self.transport}, coalescing" if self.coalesce else self.transport

    def adapter(self, url: str, key: str) -> SupabaseAdapter:
        return SupabaseAdapter(url, key, transport=self.transport)


HTTPX: Final = Stack("httpx")
HTTPTOOLS: Final = Stack("httptools")
TRANSPORTS: Final = (HTTPX, HTTPTOOLS)
COALESCING: Final = (Stack("httpx", coalesce=True), Stack("httptools", coalesce=True))
STACKS: Final = (*TRANSPORTS, *COALESCING)

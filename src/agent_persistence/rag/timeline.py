"""When what a context asked for was under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


@dataclass(slots=True)
class TimedRequest:
    """One query, or one question to a retriever or a model; times in seconds of the process's clock."""

    name: str
    began_s: float
    took_s: float = 0.0
    answers: int | None = None
    """How many rows or numbers came; None where nothing did."""


@dataclass(slots=True)
class Timeline:
    """The requests in the order in which they began."""

    requests: list[TimedRequest] = field(default_factory=list)

    @contextmanager
    def request(self, name: str) -> Iterator[TimedRequest]:
        """A request that ends with the block, however that ends."""
        made = TimedRequest(name, perf_counter())
        self.requests.append(made)
        try:
            yield made
        finally:
            made.took_s = perf_counter() - made.began_s

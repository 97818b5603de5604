"""The verbs of a service, an agent and their views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from agent_persistence.client.reading_verbs import ReadingVerbs as ReadingVerbs
from agent_persistence.client.writing_verbs import OnDuplicate as OnDuplicate, WritingVerbs as WritingVerbs


class Closing(ABC):
    """An async context manager that ends with `aclose()`."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AllVerbs(ReadingVerbs, WritingVerbs):
    """The verbs that read and those that change rows."""

    __slots__ = ()

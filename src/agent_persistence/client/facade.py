"""The verbs of a service that cannot change anything, in an object that has no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, Self, cast

from agent_persistence.client.typed import Model, ReadOnlyTable
from agent_persistence.client.verbs import Closing, ReadingVerbs, WritingVerbs
from agent_persistence.client.views import Viewable
from agent_persistence.exceptions import ReadOnlyError
from agent_persistence.operations import Operation, Result
from agent_persistence.policy.identity import Identity
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.registry import Schema


class Served(Viewable, Protocol):
    """What a façade needs of the service behind it."""

    @property
    def capabilities(self) -> Mapping[str, bool]: ...

    @property
    def policy(self) -> TablePolicy: ...

    @property
    def schema(self) -> Schema: ...

    @property
    def scan_rows(self) -> int: ...

    async def _invoke(self, operation: Operation) -> Result: ...

    async def _identify(self) -> Identity: ...

    async def aclose(self) -> None: ...


_WRITING_VERBS: Final = frozenset(name for name in vars(WritingVerbs) if not name.startswith("_"))


class ReadOnlyPersistenceFacade(ReadingVerbs, Closing):
    """The reading verbs of a service, and no others: touching a writing verb raises ReadOnlyError.

    It can be neither copied nor pickled, and has no settable attribute. Python cannot hide an object from code in
    its own process: what is promised is that no public or accidental path writes. Where that is not enough, use a
    database role that may only SELECT.
    """

    __slots__ = ("__owns_service", "__service")
    __service: Served
    __owns_service: bool

    def __init__(self, service: Served, *, owns_service: bool = False) -> None:
        if hasattr(self, "_ReadOnlyPersistenceFacade__service"):
            raise AttributeError("a read-only façade is set up once")
        object.__setattr__(self, "_ReadOnlyPersistenceFacade__service", service)
        object.__setattr__(self, "_ReadOnlyPersistenceFacade__owns_service", owns_service)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self.readable_tables))})"

    async def _invoke(self, operation: Operation) -> Result:
        if operation.writes:
            raise ReadOnlyError(operation.verb)
        return await self.__service._invoke(operation)

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `adapter.CAPABILITIES`."""
        return self.__service.capabilities

    @property
    def _writing_functions(self) -> frozenset[str]:
        return frozenset()

    @property
    def schema(self) -> Schema:
        """The declared tables."""
        return self.__service.schema

    @property
    def readable_tables(self) -> frozenset[str]:
        """The tables that the policy lets this façade read."""
        return self.__service.policy.read

    @property
    def max_rows(self) -> int:
        """The most rows that one query may be asked for."""
        return self.__service.policy.max_rows

    @property
    def scan_rows(self) -> int:
        """How many rows of a table a search reads, to look at each, before it leaves the rest to the database."""
        return self.__service.scan_rows

    def readable_columns(self, table: str) -> frozenset[str] | None:
        """The columns of a readable table that the policy lets this façade read; None is all of them."""
        return self.__service.policy.readable(table)

    def table(self, model: type[Model], name: str | None = None) -> ReadOnlyTable[Model]:
        """The reading verbs over one table whose rows come back as models, named as in a service's `table`."""
        return ReadOnlyTable(self, model, name)

    def readonly(self) -> Self:
        """This façade: it is read-only already."""
        return self

    def _over(self, view: Callable[[Viewable], Viewable]) -> Self:
        return type(self)(cast("Served", view(self.__service)))

    async def _identify(self) -> Identity:
        return await self.__service._identify()

    async def aclose(self) -> None:
        """Close the service if this façade was made with one of its own. Calling it again changes nothing."""
        if self.__owns_service:
            await self.__service.aclose()

    if not TYPE_CHECKING:  # a type checker is to report the verb as missing

        def __getattr__(self, name: str) -> NoReturn:
            if name in _WRITING_VERBS:
                raise ReadOnlyError(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a read-only façade has no settable attribute {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a read-only façade has no deletable attribute {name!r}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a read-only façade can be neither copied nor pickled; make one with readonly()")

    def __getstate__(self) -> NoReturn:
        self.__reduce_ex__(2)

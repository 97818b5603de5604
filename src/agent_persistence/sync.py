"""The same verbs without `await`, for callers that have no event loop of their own.

    from agent_persistence.sync import create_persistence_agent

    with create_persistence_agent(kind="memory") as agent:
        agent.write("leads", {"email": "a@x.io"})

One event loop in one background thread serves the whole process. It starts with the first call, works (and blocks)
inside a running loop such as a notebook's, may be used from several threads, starts anew after a fork, and ends with
the interpreter.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial, wraps
from itertools import islice
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar, Unpack, cast
from uuid import UUID

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from agent_persistence import factory, rag_context, service as async_service
from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.bulk import import_rows as bulk
from agent_persistence.client import typed, unit_of_work
from agent_persistence.client.handles import UnitResults
from agent_persistence.client.typed import Model
from agent_persistence.client.verbs import ReadingVerbs, WritingVerbs
from agent_persistence.client.views import Views
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.persistence_agent import PersistenceAgent as AsyncPersistenceAgent
from agent_persistence.persistence_config import PersistenceConfig
from agent_persistence.service import AsyncPersistenceService

P = ParamSpec("P")
T = TypeVar("T")
Owner = TypeVar("Owner")
Blocking = TypeVar("Blocking", bound="_HasInner")


class _EventLoopThread:
    """The portal into the one background event loop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._portal: BlockingPortal | None = None
        self._stack = ExitStack()
        self._own_thread: int | None = None
        self.has_ended = False
        """Whether the interpreter is ending: then no thread is started any more."""

    def portal(self) -> BlockingPortal:
        if self._own_thread == get_ident():
            raise ConfigurationError(
                "a blocking verb was called in the event loop that carries it out, which would wait for itself: hooks,"
                " middleware, progress and rejects functions use the verbs of agent_persistence with await"
            )
        with self._lock:
            if self.has_ended:
                raise ConfigurationError("the interpreter is ending, and its blocking verbs have been stopped")
            if self._portal is None:
                self._portal = self._stack.enter_context(
                    start_blocking_portal("asyncio", name="agent_persistence.sync")
                )
                self._own_thread = self._portal.call(get_ident)
            return self._portal

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in the loop and wait. An interrupt of the waiting thread (Ctrl-C) cancels the call."""
        future = self.portal().start_task_soon(partial(function, *args, **kwargs))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        with self._lock:
            self.has_ended = True
            self._stack.close()
            self._portal = None


_thread = _EventLoopThread()
_inherited: list[_EventLoopThread] = []


def _after_fork_in_child() -> None:
    """Begin with a new thread. The parent's is kept: collecting its portal would wait for a thread that is not here."""
    global _thread
    _inherited.append(_thread)
    _thread = _EventLoopThread()


atexit.register(lambda: _thread.stop())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _HasInner(Protocol):
    _inner: Any


def _blocking(method: Callable[Concatenate[Owner, P], Awaitable[T]]) -> Callable[Concatenate[_HasInner, P], T]:
    """The verb of the async class as a method that waits for it, with the same signature and docstring."""
    name: str = getattr(method, "__name__")  # noqa: B009  a Callable's type has no __name__

    @wraps(method)
    def verb(self: _HasInner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _thread.call(cast("Callable[P, Awaitable[T]]", getattr(self._inner, name)), *args, **kwargs)

    return verb


def _iterating(
    method: Callable[Concatenate[Owner, P], AsyncIterator[T]], *, take: int = 100
) -> Callable[Concatenate[_HasInner, P], Iterator[T]]:
    """The async iteration as a blocking one, which crosses into the loop once for `take` items."""
    name: str = getattr(method, "__name__")  # noqa: B009

    @wraps(method)
    def iteration(self: _HasInner, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return wait_for_each(getattr(self._inner, name)(*args, **kwargs), take=take)

    return iteration


def wait_for(function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What an async function returns, carried out in the background loop; for blocking methods beside async ones."""
    return _thread.call(function, *args, **kwargs)


def wait_for_each(items: AsyncGenerator[T], *, take: int = 100) -> Iterator[T]:
    """The items, from the background loop, which is entered once for `take` of them."""
    try:
        while taken := _thread.call(_next_items, items, take):
            yield from taken
    finally:
        if not _thread.has_ended:  # else the event loop has closed it
            _thread.call(items.aclose)


async def _next_items(items: AsyncIterator[T], count: int) -> list[T]:
    taken: list[T] = []
    async for item in items:
        taken.append(item)
        if len(taken) == count:
            break
    return taken


def _viewing(method: Callable[Concatenate[Owner, P], Owner]) -> Callable[Concatenate[Blocking, P], Blocking]:
    """The method of the async class that makes a view; the view is put into a blocking object of the same class."""
    name: str = getattr(method, "__name__")  # noqa: B009

    @wraps(method)
    def viewed(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Blocking:
        return _blocking_view(self, getattr(self._inner, name)(*args, **kwargs))

    return viewed


def _viewing_later(
    method: Callable[Concatenate[Owner, P], Awaitable[Owner]],
) -> Callable[Concatenate[Blocking, P], Blocking]:
    """As `_viewing`, of a coroutine function."""
    made = _blocking(method)

    @wraps(method)
    def viewed(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Blocking:
        return _blocking_view(self, made(self, *args, **kwargs))

    return viewed


def _blocking_view(blocking: Blocking, inner: Any) -> Blocking:
    view = object.__new__(type(blocking))
    view._inner = inner
    return view


class _Refusing:
    """What the async object refuses to have, it refuses as well, with the same error."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker is to report the verb as missing

        def __getattr__(self, name: str) -> NoReturn:
            getattr(self._inner, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class ReadOnlyTable(_Refusing, Generic[Model]):
    """The reading verbs of `agent_persistence.client.typed.ReadOnlyTable` without `await`."""

    __slots__ = ("_inner",)

    def __init__(self, inner: typed.ReadOnlyTable[Model]) -> None:
        self._inner: Any = inner

    as_user = _viewing(typed.ReadOnlyTable[Model].as_user)
    read = _blocking(typed.ReadOnlyTable[Model].read)
    query = _blocking(typed.ReadOnlyTable[Model].query)
    count = _blocking(typed.ReadOnlyTable[Model].count)
    iterate = _iterating(typed.ReadOnlyTable[Model].iterate)
    get_columns = _blocking(typed.ReadOnlyTable[Model].get_columns)


class TypedTable(ReadOnlyTable[Model]):
    """The verbs of `agent_persistence.client.typed.TypedTable` without `await`."""

    __slots__ = ()

    write = _blocking(typed.TypedTable[Model].write)
    batch_write = _blocking(typed.TypedTable[Model].batch_write)
    upsert = _blocking(typed.TypedTable[Model].upsert)
    upsert_many = _blocking(typed.TypedTable[Model].upsert_many)
    update = _blocking(typed.TypedTable[Model].update)
    delete = _blocking(typed.TypedTable[Model].delete)


Inner = TypeVar("Inner", AsyncPersistenceService, AsyncPersistenceAgent, async_service.ReadOnlyPersistenceFacade)


class _Reading(Generic[Inner]):
    __slots__ = ("_inner",)
    _inner: Inner

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    read = _blocking(ReadingVerbs.read)
    query = _blocking(ReadingVerbs.query)
    page = _blocking(ReadingVerbs.page)
    count = _blocking(ReadingVerbs.count)
    call = _blocking(ReadingVerbs.call)
    iterate = _iterating(ReadingVerbs.iterate)
    get_columns = _blocking(ReadingVerbs.get_columns)

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `adapter.CAPABILITIES`."""
        return self._inner.capabilities

    def readonly(self) -> ReadOnlyPersistenceFacade:
        """A façade over the same service that cannot write."""
        return ReadOnlyPersistenceFacade(self._inner.readonly())

    with_options = _viewing(Views.with_options)
    as_user = _viewing(Views.as_user)
    pinned = _viewing_later(Views.pinned)

    def close(self) -> None:
        """Close what the factory made for this object. Calling it again changes nothing."""
        _thread.call(self._inner.aclose)

    aclose = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class UnitOfWork(unit_of_work.UnitOfWork):
    """A unit of work whose `commit()` waits; its other methods send nothing, and are the same."""

    if TYPE_CHECKING:

        def commit(self) -> UnitResults: ...  # type: ignore[override]  # the one that waits
    else:

        @wraps(unit_of_work.UnitOfWork.commit)
        def commit(self) -> UnitResults:
            return _thread.call(super().commit)


class _Writing(_Reading[Inner]):
    __slots__ = ()

    write = _blocking(WritingVerbs.write)
    batch_write = _blocking(WritingVerbs.batch_write)
    bulk_write = _blocking(WritingVerbs.bulk_write)
    upsert = _blocking(WritingVerbs.upsert)
    upsert_many = _blocking(WritingVerbs.upsert_many)
    update = _blocking(WritingVerbs.update)
    delete = _blocking(WritingVerbs.delete)

    def unit_of_work(self, key: UUID | str | None = None) -> UnitOfWork:
        """Several writes that are applied together or not at all, in one request; nothing is sent before `commit()`.

        Under a `key` they are applied once, also when the same unit is made and committed again, by this or another
        process. See `UnitOfWork`.
        """
        return UnitOfWork(cast("AsyncPersistenceService | AsyncPersistenceAgent", self._inner), key)

    def table(self, model: type[Model], name: str | None = None) -> TypedTable[Model]:
        """The verbs over one table whose rows come back as models; its name is `model.__tablename__` or `name`."""
        return TypedTable(self._inner.table(model, name))


class PersistenceService(_Writing[AsyncPersistenceService]):
    """AsyncPersistenceService without `await`; it takes the same options."""

    __slots__ = ()

    def __init__(
        self,
        adapter: PersistenceAdapter,
        *,
        owns_adapter: bool = False,
        **options: Unpack[async_service.ServiceOptions],
    ) -> None:
        super().__init__(AsyncPersistenceService(adapter, owns_adapter=owns_adapter, **options))

    check = _blocking(AsyncPersistenceService.check)
    flush_spool = _blocking(AsyncPersistenceService.flush_spool)


class PersistenceAgent(_Writing[AsyncPersistenceAgent]):
    """PersistenceAgent without `await`, around an async one."""

    __slots__ = ()


class ReadOnlyPersistenceFacade(_Refusing, _Reading[async_service.ReadOnlyPersistenceFacade]):
    """ReadOnlyPersistenceFacade without `await`: it has no writing verb, and touching one raises ReadOnlyError."""

    __slots__ = ()

    def table(self, model: type[Model], name: str | None = None) -> ReadOnlyTable[Model]:
        """The reading verbs over one table whose rows come back as models, named as in a service's `table`."""
        return ReadOnlyTable(self._inner.table(model, name))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a read-only façade can be neither copied nor pickled; make one with readonly()")


def create_persistence_agent(
    kind: factory.Kind = "supabase",
    *,
    config: PersistenceConfig | None = None,
    tables: Iterable[str] | None = None,
    merge_defaults: bool = False,
    adapter: PersistenceAdapter | None = None,
    service: PersistenceService | None = None,
    path: str | os.PathLike[str] | None = None,
    **service_options: Unpack[async_service.ServiceOptions],
) -> PersistenceAgent:
    """Return a blocking agent; the arguments are those of `agent_persistence.create_persistence_agent`."""
    return PersistenceAgent(
        factory.create_persistence_agent(
            kind,
            config=config,
            tables=tables,
            merge_defaults=merge_defaults,
            adapter=adapter,
            service=None if service is None else service._inner,
            path=path,
            **service_options,
        )
    )


def create_readonly_rag_facade(
    kind: factory.Kind = "supabase",
    *,
    config: PersistenceConfig | None = None,
    adapter: PersistenceAdapter | None = None,
    service: PersistenceService | None = None,
    path: str | os.PathLike[str] | None = None,
    **service_options: Unpack[async_service.ServiceOptions],
) -> ReadOnlyPersistenceFacade:
    """Return a blocking façade; the arguments are those of `agent_persistence.create_readonly_rag_facade`."""
    return ReadOnlyPersistenceFacade(
        factory.create_readonly_rag_facade(
            kind,
            config=config,
            adapter=adapter,
            service=None if service is None else service._inner,
            path=path,
            **service_options,
        )
    )


def _over_blocking_source(
    function: Callable[Concatenate[rag_context.ReadableSource, P], Awaitable[T]],
) -> Callable[Concatenate[_HasInner, P], T]:
    @wraps(function)
    def blocking(source: _HasInner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _thread.call(function, source._inner, *args, **kwargs)

    return blocking


build_rag_context = _over_blocking_source(rag_context.build_rag_context)


@wraps(bulk.bulk_import)
def bulk_import(
    target: _Writing[Any], table: str, source: bulk.Source, **options: Unpack[bulk.ImportOptions]
) -> bulk.ImportReport:
    """`agent_persistence.bulk_import` without `await`.

    An iterable is iterated over in the calling thread, no faster than the import stores its rows; `progress`, and
    `rejects` if it is a function, are called in the thread of the event loop, and so must call no verb of this module.
    """
    inner: Any = getattr(target, "_inner", target)
    if not bulk.is_given(source):
        return _thread.call(bulk.bulk_import, inner, table, source, **options)
    items, taken = anyio.create_memory_object_stream[list[Any]](1)
    importing = partial(bulk.bulk_import, inner, table, _each(taken), **options)
    report = _thread.portal().start_task_soon(importing)
    report.add_done_callback(lambda _: taken.close())
    try:
        with suppress(anyio.BrokenResourceError):  # the import has ended early, and says why
            for some in _by_the_hundred(source):
                _thread.call(items.send, some)
        _thread.call(items.aclose)
        return report.result()
    except BaseException:
        report.cancel()
        raise
    finally:
        _thread.call(items.aclose)


def look_at(
    target: _Writing[Any], table: str, source: str | os.PathLike[str], **given: Unpack[bulk.ImportOptions]
) -> bulk.FileLook:
    """`agent_persistence.bulk.look_at` without `await`."""
    inner: Any = getattr(target, "_inner", target)
    return _thread.call(bulk.look_at, inner, table, source, **given)


async def _each(taken: AsyncIterator[list[Any]]) -> AsyncIterator[Any]:
    async for some in taken:
        for item in some:
            yield item


def _by_the_hundred(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while some := list(islice(iterator, 100)):
        yield some

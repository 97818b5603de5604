"""The service: policy and the middleware chain in front of an adapter; and its read-only façade."""

from __future__ import annotations

import os
import random as random_module
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypeVar

import anyio

from agent_persistence import metrics as metrics_module
from agent_persistence._verbs import Closing, ReadingVerbs, WritingVerbs
from agent_persistence.adapter import PersistenceAdapter
from agent_persistence.audit import AuditHook
from agent_persistence.cache_policy import CachePolicy, cache_policy
from agent_persistence.chain import Middleware, Next, compose
from agent_persistence.client_keys import KEY_REFUSED, KEY_REMEDY, ClientKeys, KeyColumns
from agent_persistence.coalescing import CoalescePolicy, coalesce_policy
from agent_persistence.dispatch import dispatch_to
from agent_persistence.exceptions import AdapterError, ConfigurationError, ReadOnlyError
from agent_persistence.metrics import Metrics
from agent_persistence.middleware._scope import scope_of
from agent_persistence.middleware.audit import Audit
from agent_persistence.middleware.caching import Caching
from agent_persistence.middleware.coalescing import Coalescing
from agent_persistence.middleware.guard import Guard
from agent_persistence.middleware.masking import Masking
from agent_persistence.middleware.observing import Observer, Observing
from agent_persistence.middleware.paging import Paging
from agent_persistence.middleware.retry import Retry
from agent_persistence.middleware.splitting import Splitting
from agent_persistence.middleware.tenancy import Tenancy
from agent_persistence.middleware.timing import Timing
from agent_persistence.middleware.validation import Validation
from agent_persistence.operations import Operation, Result
from agent_persistence.persistence_config import LOGGING_VARIABLE
from agent_persistence.policy import TablePolicy
from agent_persistence.records import Record, strip_none
from agent_persistence.redaction import Redaction
from agent_persistence.retry import RetryBudget, RetryPolicy, retry_policy
from agent_persistence.schema_registry import Schema, default_schema
from agent_persistence.tenant import TenantScope
from agent_persistence.typed import Model, ReadOnlyTable, TypedTable

__all__ = ["AsyncPersistenceService", "PersistenceAdapter", "ReadOnlyPersistenceFacade"]

T = TypeVar("T")


class AsyncPersistenceService(ReadingVerbs, WritingVerbs, Closing):
    """The only way to an adapter: every verb builds an operation and sends it down the chain.

    The chain, outermost first: observers, timing, audit, guard, your `middleware` in the order given, guard again,
    validation, masking, tenancy, caching, splitting, paging, coalescing, retry, adapter. Layers that are not configured
    are not in it; validation needs a `schema`, since the default one is a guess. `aclose()` closes the adapter only if
    `owns_adapter`.

    A table whose primary key is a declared uuid column, or one that `client_keys` names ({table: column}), gets its
    keys here, before a row is sent, so that a write whose answer was lost can be sent again and is applied once; None
    for a column, or False for `client_keys`, leaves the keys to the database.

    `mask_reads` and `mask_writes` apply a `Redaction` to the rows that come back and to what is written. `tenant`
    holds every call within the rows of one tenant (see `TenantScope`). `cache` answers reads again for a while, until
    something is written (see `CachePolicy`). With `coalesce` concurrent writes of single rows into one table go as one
    batch, and concurrent reads by key as one query.

    `observers` watch every call from its beginning to its end and cannot change it (see `agent_persistence.ext`).
    `log` prints `[persistence] op=… table=… ms=…` after every call, by default where PERSIST_LOGGING is set;
    `actor` is told to the audit hooks. `row_cap` is the server's cap on rows (PostgREST's max-rows, 1,000 on hosted
    Supabase): telling it saves the request that follows a short answer until a longer one has been seen. `clock`,
    `random` and `sleep` serve the retries.
    """

    def __init__(
        self,
        adapter: PersistenceAdapter,
        *,
        policy: TablePolicy | None = None,
        middleware: Iterable[Middleware] = (),
        audit: AuditHook | Iterable[AuditHook] = (),
        observers: Observer | Iterable[Observer] = (),
        retry: RetryPolicy | bool | None = None,
        schema: Schema | None = None,
        metrics: Metrics | None = None,
        client_keys: KeyColumns | Literal[False] | None = None,
        mask_reads: Redaction | None = None,
        mask_writes: Redaction | None = None,
        tenant: TenantScope | None = None,
        cache: CachePolicy | bool | None = None,
        coalesce: CoalescePolicy | bool = False,
        log: bool | None = None,
        actor: str | None = None,
        row_cap: float | None = None,
        owns_adapter: bool = False,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        _check_adapter(adapter)
        self._capabilities = MappingProxyType(dict(adapter.capabilities))
        self._adapter = adapter
        self._policy = TablePolicy.default() if policy is None else _instance("policy", policy, TablePolicy)
        self._schema = default_schema() if schema is None else _instance("schema", schema, Schema)
        self._retry = retry_policy(retry)
        self._client_keys = ClientKeys(self._schema, client_keys)
        self._owns_adapter = owns_adapter
        self._clock = clock
        self._cache = None if (kept := cache_policy(cache)) is None else Caching(kept, self._schema, clock)
        yours = _callables("middleware", middleware, "an async (operation, call_next) that returns a Result")
        hooks = _callables("audit", audit, "a callable with one AuditEvent")
        watching = _callables("observers", observers, "a callable with one CallBegun that returns an Observation")
        shared = coalesce_policy(coalesce)
        url_size = getattr(adapter, "url_size", None)
        layers: list[Middleware | None] = [
            Observing(watching, self._policy, adapter) if watching else None,
            Timing(
                metrics_module.default if metrics is None else _instance("metrics", metrics, Metrics),
                log=LOGGING_VARIABLE in os.environ if log is None else log,
            ),
            Audit(hooks, self._client_keys.primary, actor=actor) if hooks else None,
            Guard(self._policy, self._schema, narrows=False) if yours else None,
            *yours,
            Guard(self._policy, self._schema),
            None if schema is None else Validation(self._schema),
            self._masking(mask_reads, mask_writes),
            None if tenant is None else Tenancy(_instance("tenant", tenant, TenantScope), self._client_keys.primary),
            self._cache,
            None if url_size is None else Splitting(self._schema, url_size),
            self._paging(getattr(adapter, "row_cap", None) if row_cap is None else _row_cap(row_cap)),
            None if shared is None else Coalescing(shared, self._client_keys, clock=clock),
        ]
        self._layers = [layer for layer in layers if layer is not None]
        self._make_retry = partial(
            Retry,
            budget=RetryBudget(self._retry.budget),
            keys=self._client_keys,
            readable=self._policy.read,
            scope=partial(scope_of, policy=self._policy, tenant=tenant),
            clock=clock,
            random=random,
            sleep=sleep,
        )
        self._chain = self._composed()

    def _masking(self, reads: Redaction | None, writes: Redaction | None) -> Masking | None:
        if reads is None and writes is None:
            return None
        return Masking(self._schema, reads=reads, writes=writes, rows=self._policy.rows)

    def _paging(self, row_cap: float | None) -> Paging:
        pages = all(self.capabilities.get(needed) for needed in ("ordering", "limit", "offset"))
        max_rows, readable = self._policy.max_rows, self._policy.readable
        return Paging(self._schema, max_rows=max_rows, row_cap=row_cap, pages=pages, readable=readable)

    def _composed(self) -> Next:
        endpoint = dispatch_to(self._adapter, self._clock, self._retry.attempt_s)
        return compose([*self._layers, self._make_retry(self._retry)], endpoint)

    def with_options(self, *, deadline_s: float | None = None, retry: RetryPolicy | bool | None = None) -> Self:
        """This service under other bounds: the same verbs, policy, middleware, metrics and retry budget.

        `deadline_s` is the most that a call may take, reads and writes alike; `retry` replaces the retry policy. What
        is None stays. Making one costs microseconds, so that it may be made for a single call; closing it closes
        nothing.
        """
        bounded = copy(self)
        bounded._retry = self._retry if retry is None else retry_policy(retry)
        if deadline_s is not None:
            bounded._retry = bounded._retry.within(deadline_s)
        bounded._chain = bounded._composed()
        bounded._owns_adapter = False
        return bounded

    async def _invoke(self, operation: Operation) -> Result:
        """Send the operation down the chain, with the one deadline that everything below obeys."""
        patience_s = self._retry.write_deadline_s if operation.writes else self._retry.read_deadline_s
        try:
            result = await self._chain(operation.due(self._clock() + patience_s))
        except AdapterError as error:
            if error.code in KEY_REFUSED and getattr(operation, "generated_key", None):
                error.add_note(KEY_REMEDY)
            raise
        if not isinstance(result, Result):
            raise ConfigurationError(f"a middleware returned {type(result).__name__}; it must return a Result")
        return result

    def _clean(self, record: Record) -> Record:
        """The record without its None values. Override it to mask or transform what is written."""
        return strip_none(record)

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `adapter.CAPABILITIES`."""
        return self._capabilities

    @property
    def _writing_functions(self) -> frozenset[str]:
        return self._policy.call_write

    @property
    def policy(self) -> TablePolicy:
        """What this service may touch."""
        return self._policy

    @property
    def schema(self) -> Schema:
        """The declared tables."""
        return self._schema

    @property
    def cache(self) -> Caching | None:
        """The cache, if there is one: `cache.stats` counts hits, `cache.clear()` forgets everything."""
        return self._cache

    def table(self, model: type[Model], name: str | None = None) -> TypedTable[Model]:
        """The verbs over one table whose rows come back as models; its name is `model.__tablename__` or `name`."""
        return TypedTable(self, self, model, name)

    def readonly(self) -> ReadOnlyPersistenceFacade:
        """A façade over this service that cannot write; closing it leaves the service open."""
        return ReadOnlyPersistenceFacade(self)

    async def aclose(self) -> None:
        """Close the adapter if this service owns it. Calling it again changes nothing."""
        if self._owns_adapter:
            await self._adapter.aclose()


_WRITING_VERBS: Final = frozenset(name for name in vars(WritingVerbs) if not name.startswith("_"))


class ReadOnlyPersistenceFacade(ReadingVerbs, Closing):
    """The reading verbs of a service, and no others: touching a writing verb raises ReadOnlyError.

    It can be neither copied nor pickled, and has no settable attribute. Python cannot hide an object from code in
    its own process: what is promised is that no public or accidental path writes. Where that is not enough, use a
    database role that may only SELECT.
    """

    __slots__ = ("__owns_service", "__service")
    __service: AsyncPersistenceService
    __owns_service: bool

    def __init__(self, service: AsyncPersistenceService, *, owns_service: bool = False) -> None:
        if hasattr(self, "_ReadOnlyPersistenceFacade__service"):
            raise AttributeError("a read-only façade is set up once")
        object.__setattr__(self, "_ReadOnlyPersistenceFacade__service", service)
        object.__setattr__(self, "_ReadOnlyPersistenceFacade__owns_service", owns_service)

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

    def readable_columns(self, table: str) -> frozenset[str] | None:
        """The columns of a readable table that the policy lets this façade read; None is all of them."""
        return self.__service.policy.readable(table)

    def table(self, model: type[Model], name: str | None = None) -> ReadOnlyTable[Model]:
        """The reading verbs over one table whose rows come back as models, named as in a service's `table`."""
        return ReadOnlyTable(self, model, name)

    def readonly(self) -> Self:
        """This façade: it is read-only already."""
        return self

    def with_options(
        self, *, deadline_s: float | None = None, retry: RetryPolicy | bool | None = None
    ) -> ReadOnlyPersistenceFacade:
        """This façade under other bounds, as `AsyncPersistenceService.with_options`; closing it closes nothing."""
        return ReadOnlyPersistenceFacade(self.__service.with_options(deadline_s=deadline_s, retry=retry))

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


_VERBS: Final = ("capabilities", "write", "batch_write", "upsert", "read", "query", "get_columns")


def _check_adapter(adapter: object) -> None:
    missing = [name for name in _VERBS if not hasattr(adapter, name)]
    if missing:
        raise ConfigurationError(f"{type(adapter).__name__} is no PersistenceAdapter: it lacks {', '.join(missing)}")


def _instance(option: str, value: object, expected: type[T]) -> T:
    if not isinstance(value, expected):
        raise ConfigurationError(f"{option} is a {expected.__name__}, not {type(value).__name__}")
    return value


def _row_cap(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
        raise ConfigurationError("row_cap is the server's cap on rows, a number of at least 1")
    return value


def _callables(option: str, given: Any, expected: str) -> tuple[Any, ...]:
    layers = tuple(given) if isinstance(given, Iterable) else (given,)
    for layer in layers:
        if not callable(layer):
            raise ConfigurationError(f"{option} holds {type(layer).__name__}; each is {expected}")
    return layers

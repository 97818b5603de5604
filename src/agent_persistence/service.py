"""The service: policy and the middleware chain in front of an adapter."""

from __future__ import annotations

import os
import random as random_module
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypedDict, TypeVar, cast

import anyio

from agent_persistence import metrics as metrics_module
from agent_persistence._verbs import AllVerbs, Closing
from agent_persistence._views import AccessToken, Claims, Tenant, Viewable
from agent_persistence.adapter import ActsAs, Identified, Pages, PersistenceAdapter
from agent_persistence.audit import AuditHook
from agent_persistence.cache_policy import CachePolicy, cache_policy
from agent_persistence.chain import Layer, Middleware, as_layer, compose
from agent_persistence.client_keys import KEY_REFUSED, KEY_REMEDY, ClientKeys, KeyColumns
from agent_persistence.coalescing import CoalescePolicy, coalesce_policy
from agent_persistence.context import CallContext
from agent_persistence.dispatch import dispatch_to
from agent_persistence.exceptions import AdapterError, ConfigurationError
from agent_persistence.facade import ReadOnlyPersistenceFacade
from agent_persistence.identity import Identity
from agent_persistence.metrics import Metrics
from agent_persistence.middleware._scope import scope_of
from agent_persistence.middleware.audit import Audit
from agent_persistence.middleware.caching import Caching
from agent_persistence.middleware.coalescing import Coalescing
from agent_persistence.middleware.guard import Guard
from agent_persistence.middleware.identification import Identification
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
from agent_persistence.typed import Model, TypedTable

__all__ = ["AsyncPersistenceService", "PersistenceAdapter", "ReadOnlyPersistenceFacade"]

T = TypeVar("T")
SCAN_ROWS: Final = 1_999
"""How many rows of a table a search reads of an adapter that does not say: with the next one two pages of 1,000."""


class ServiceOptions(TypedDict, total=False):
    """The options of AsyncPersistenceService, as the factories take them."""

    policy: TablePolicy | None
    middleware: Iterable[Middleware]
    audit: AuditHook | Iterable[AuditHook]
    observers: Observer | Iterable[Observer]
    retry: RetryPolicy | bool | None
    schema: Schema | None
    metrics: Metrics | None
    client_keys: KeyColumns | Literal[False] | None
    mask_reads: Redaction | None
    mask_writes: Redaction | None
    tenant: TenantScope | None
    cache: CachePolicy | bool | None
    coalesce: CoalescePolicy | bool
    log: bool | None
    actor: str | None
    row_cap: float | None
    clock: Callable[[], float]
    random: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


class AsyncPersistenceService(AllVerbs, Closing):
    """The only way to an adapter: every verb builds an operation and sends it down the chain.

    The chain, outermost first: observers, timing, audit, guard, your `middleware` in the order given, guard again,
    validation, masking, tenancy, identification, caching, splitting, paging, coalescing, retry, adapter. Layers that
    are not configured are not in it; validation needs a `schema`, since the default one is a guess. `aclose()` closes
    the adapter only if `owns_adapter`.

    `as_user` gives a view whose calls run as one user, over the same connections. Answers and requests are shared
    (`cache`, `coalesce`) only between calls of one identity, and so an adapter that does not say as whom it calls
    (see `adapter.Identified`) has neither.

    A table whose primary key is a declared uuid column, or one that `client_keys` names ({table: column}), gets its
    keys here, before a row is sent, so that a write whose answer was lost can be sent again and is applied once; None
    for a column, or False for `client_keys`, leaves the keys to the database.

    `mask_reads` and `mask_writes` apply a `Redaction` to the rows that come back and to what is written. `tenant`
    holds every call within the rows of one tenant (see `TenantScope`). `cache` answers reads again for a while, until
    something is written (see `CachePolicy`). With `coalesce` concurrent writes of single rows into one table go as one
    batch, and concurrent reads by key as one query.

    `observers` watch every call from its beginning to its end and cannot change it (see `agent_persistence.ext`).
    `log` prints `[persistence] op=… table=… ms=…` after every call, by default where PERSIST_LOGGING is set;
    `actor` is written into the audit events. `row_cap` is the server's cap on rows (PostgREST's max-rows), by default
    1,000 for hosted Supabase, none for PostgreSQL and memory; where it is not known, short answers cost a count or
    another request. `clock` gives the seconds by which deadlines and the age of cached answers are measured; `random`
    and `sleep` serve the pauses between attempts.
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
        self._by_user = adapter if isinstance(adapter, ActsAs) else None
        self._identification = _identification(self._by_user, clock)
        self._policy = TablePolicy.default() if policy is None else _instance("policy", policy, TablePolicy)
        self._schema = default_schema() if schema is None else _instance("schema", schema, Schema)
        self._retry = retry_policy(retry)
        self._client_keys = ClientKeys(self._schema, client_keys, is_given=schema is not None)
        self._owns_adapter = owns_adapter
        self._clock = clock
        self._cache = None if (caching := cache_policy(cache)) is None else Caching(caching, self._schema, clock)
        yours = _callables("middleware", middleware, "an async (operation, call_next) that returns a Result")
        hooks = _callables("audit", audit, "a callable with one AuditEvent")
        watching = _callables("observers", observers, "a callable with one CallBegun that returns an Observation")
        coalescing = coalesce_policy(coalesce)
        if self._cache is not None or coalescing is not None:
            _check_identified(adapter)
        url_size = getattr(adapter, "url_size", None)
        layers: list[Layer | None] = [
            Observing(watching, self._policy, adapter) if watching else None,
            Timing(
                metrics_module.default if metrics is None else _instance("metrics", metrics, Metrics),
                log=LOGGING_VARIABLE in os.environ if log is None else log,
            ),
            Audit(hooks, self._client_keys.primary) if hooks else None,
            Guard(self._policy, self._schema, narrows=False) if yours else None,
            *map(as_layer, yours),
            Guard(self._policy, self._schema),
            None if schema is None else Validation(self._schema),
            self._masking(mask_reads, mask_writes),
            Tenancy(self._client_keys.primary),
            self._identification,
            self._cache,
            None if url_size is None else Splitting(self._schema, url_size),
            self._paging(adapter, row_cap),
            None if coalescing is None else Coalescing(coalescing, self._client_keys, clock=clock),
            Retry(
                RetryBudget(self._retry.budget),
                self._client_keys,
                self._policy.read,
                scope=partial(scope_of, policy=self._policy),
                clock=clock,
                random=random,
                sleep=sleep,
            ),
        ]
        self._layers = [layer for layer in layers if layer is not None]
        self._chain = compose(self._layers, dispatch_to(adapter, clock))
        self._identity = Identity(
            own=True, tenant=None if tenant is None else _instance("tenant", tenant, TenantScope), actor=actor
        )

    def _masking(self, reads: Redaction | None, writes: Redaction | None) -> Masking | None:
        if reads is None and writes is None:
            return None
        return Masking(self._schema, reads=reads, writes=writes, rows=self._policy.rows)

    def _paging(self, adapter: PersistenceAdapter, row_cap: float | None) -> Paging:
        return Paging(
            self._schema,
            max_rows=self._policy.max_rows,
            row_cap=getattr(adapter, "row_cap", None) if row_cap is None else _row_cap(row_cap),
            counts=isinstance(adapter, Pages),
            pages=all(self.capabilities.get(needed) for needed in ("ordering", "limit", "offset")),
            readable=self._policy.readable,
        )

    def _over(self, view: Callable[[Viewable], Viewable]) -> Self:
        return cast("Self", view(self))

    def _with_bounds(self, deadline_s: float | None, retry: RetryPolicy | bool | None) -> Self:
        policy = self._retry if retry is None else retry_policy(retry)
        view = self._view()
        view._retry = policy if deadline_s is None else policy.within(deadline_s)
        return view

    def _for_user(
        self,
        access_token: AccessToken | None,
        claims: Claims | None,
        tenant: Tenant | None,
        actor: str | None,
    ) -> Self:
        only_adds = access_token is None and claims is None and (tenant is not None or actor is not None)
        if only_adds and (self._by_user is None or self._names_user):
            user = self._identity
        elif self._by_user is not None:
            user = self._by_user.identity_of(access_token=access_token, claims=claims)
        else:
            raise _knows_no_users(self._adapter)
        named = self._identity.actor if actor is None else _actor(actor)
        return self._with_identity(replace(user, tenant=self._tenant_of(tenant), actor=named))

    @property
    def _names_user(self) -> bool:
        """Whether the user of a call is known already: by this view, or by the adapter's callable."""
        return self._identification is not None or not self._identity.own

    def _with_identity(self, identity: Identity) -> Self:
        view = self._view()
        view._identity = identity
        return view

    async def _identify(self) -> Identity:
        return self._identity if self._identification is None else await self._identification.current(self._identity)

    def _view(self) -> Self:
        view = copy(self)
        view._owns_adapter = False
        return view

    def _tenant_of(self, tenant: Tenant | None) -> TenantScope | None:
        if tenant is None or isinstance(tenant, TenantScope):
            return self._identity.tenant if tenant is None else tenant
        return TenantScope(tenant) if self._identity.tenant is None else self._identity.tenant.of(tenant)

    def _context(self, *, writes: bool) -> CallContext:
        """The context of a call that begins now."""
        deadline_s = self._retry.write_deadline_s if writes else self._retry.read_deadline_s
        return CallContext(self._identity, self._retry, self._clock() + deadline_s)

    async def _invoke(self, operation: Operation) -> Result:
        """Send the operation down the chain, with the one identity and deadline that hold for everything below."""
        try:
            result = await self._chain(operation, self._context(writes=operation.writes))
        except AdapterError as error:
            if error.code in KEY_REFUSED and operation.own_key:
                error.add_note(KEY_REMEDY)
            raise
        if not isinstance(result, Result):
            raise ConfigurationError(f"a middleware returned {type(result).__name__}; it must return a Result")
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._adapter!r})"

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
    def scan_rows(self) -> int:
        """How many rows of a table a search reads, to look at each, before it leaves the rest to the database."""
        told: float = getattr(self._adapter, "scan_rows", SCAN_ROWS)
        return int(min(told, self._policy.max_rows))

    @property
    def cache(self) -> Caching | None:
        """The cache, if there is one: `cache.stats` counts hits, `cache.clear()` forgets everything."""
        return self._cache

    def table(self, model: type[Model], name: str | None = None) -> TypedTable[Model]:
        """The verbs over one table whose rows come back as models; its name is `model.__tablename__` or `name`."""
        return TypedTable(self, model, name)

    def readonly(self) -> ReadOnlyPersistenceFacade:
        """A façade over this service that cannot write; closing it leaves the service open."""
        return ReadOnlyPersistenceFacade(self)

    async def aclose(self) -> None:
        """Close the adapter if this service owns it. Calling it again changes nothing."""
        if self._owns_adapter:
            await self._adapter.aclose()


_VERBS: Final = ("capabilities", "write", "batch_write", "upsert", "read", "query", "get_columns")


def _check_adapter(adapter: object) -> None:
    missing = [name for name in _VERBS if not hasattr(adapter, name)]
    if missing:
        raise ConfigurationError(f"{type(adapter).__name__} is no PersistenceAdapter: it lacks {', '.join(missing)}")


def _check_identified(adapter: object) -> None:
    if not isinstance(adapter, Identified):
        raise ConfigurationError(
            f"{type(adapter).__name__} does not say as whom its calls run, so that cache= and coalesce= might give one"
            " user what another was answered; give it `identity = Identity(own=True)` if all its calls run as the same"
            " user, or leave these options out"
        )


def _knows_no_users(adapter: object) -> ConfigurationError:
    return ConfigurationError(
        f"{type(adapter).__name__} knows no users: access_token= is for SupabaseAdapter, claims= for PostgresAdapter;"
        " over this adapter as_user takes tenant= or actor="
    )


def _identification(adapter: ActsAs | None, clock: Callable[[], float]) -> Identification | None:
    """The layer that asks the adapter's callable, where it has one."""
    return None if adapter is None or adapter.identity is not None else Identification(adapter, clock)


def _instance(option: str, value: object, expected: type[T]) -> T:
    if not isinstance(value, expected):
        raise ConfigurationError(f"{option} is a {expected.__name__}, not {type(value).__name__}")
    return value


def _actor(actor: object) -> str:
    if not isinstance(actor, str) or not actor.strip():
        raise ConfigurationError("actor is the name that the audit log has for who calls, a text that is not empty")
    return actor


def _row_cap(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
        raise ConfigurationError("row_cap is the server's cap on rows, a number of at least 1")
    return value


def _callables(option: str, given: Any, expected: str) -> tuple[Any, ...]:
    """One callable, or each of several, as a tuple."""
    several = tuple(given) if isinstance(given, Iterable) else (given,)
    for each in several:
        if not callable(each):
            raise ConfigurationError(f"{option} holds {type(each).__name__}; each is {expected}")
    return several

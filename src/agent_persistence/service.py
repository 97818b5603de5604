"""The service: policy and the middleware chain in front of an adapter."""

from __future__ import annotations

import os
import random as random_module
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict, cast

import anyio

from agent_persistence import metrics as metrics_module
from agent_persistence.backends.backend import Capabilities
from agent_persistence.backends.base import ActsAs, PersistenceAdapter
from agent_persistence.backends.six_verbs import described
from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.client.options import (
    callables,
    check_adapter,
    check_identified,
    checked_actor,
    checked_row_cap,
    instance,
    knows_no_users,
)
from agent_persistence.client.typed import Model, TypedTable
from agent_persistence.client.verbs import AllVerbs, Closing
from agent_persistence.client.views import AccessToken, Claims, Tenant, Viewable
from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, ConfigurationError, UnsupportedOperationError, ValidationError
from agent_persistence.metrics import Metrics
from agent_persistence.operations import Operation, Result, Unit
from agent_persistence.operations.spooled import marked
from agent_persistence.persistence_config import LOGGING_VARIABLE
from agent_persistence.pipeline.audit.event import AuditHook
from agent_persistence.pipeline.audit.layer import Audit
from agent_persistence.pipeline.caching.layer import Caching
from agent_persistence.pipeline.caching.policy import CachePolicy, cache_policy
from agent_persistence.pipeline.chain import Layer, Middleware, Rest, as_layer, as_marking_layer, compose, unsent
from agent_persistence.pipeline.coalescing.layer import Coalescing
from agent_persistence.pipeline.coalescing.policy import CoalescePolicy, coalesce_policy
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.pipeline.duplicates import Duplicates
from agent_persistence.pipeline.gathering import Gathering, gather
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.pipeline.guard.scope import scope_of
from agent_persistence.pipeline.identification import Identification
from agent_persistence.pipeline.masking import Masking
from agent_persistence.pipeline.observing import Observer, Observing
from agent_persistence.pipeline.paging.layer import Paging
from agent_persistence.pipeline.paging.splitting import Splitting
from agent_persistence.pipeline.remembering import Remembering
from agent_persistence.pipeline.retry.layer import Retry
from agent_persistence.pipeline.tenancy import Tenancy
from agent_persistence.pipeline.timing import Timing
from agent_persistence.pipeline.validation import Validation
from agent_persistence.policy.identity import Identity
from agent_persistence.policy.retry import RetryBudget, RetryPolicy, retry_policy
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import Record, strip_none
from agent_persistence.redaction.redacting import Redaction
from agent_persistence.schema.client_keys import KEY_REFUSED, KEY_REMEDY, ClientKeys, KeyColumns
from agent_persistence.schema.registry import Schema, default_schema

if TYPE_CHECKING:
    from agent_persistence.pipeline.spooling.draining import FlushReport
    from agent_persistence.pipeline.spooling.forwarding import Forwarding
    from agent_persistence.spool.spool import Spool

__all__ = ["AsyncPersistenceService", "PersistenceAdapter", "ReadOnlyPersistenceFacade"]

_DEFAULT_POLICY: Final = TablePolicy.default()
_RULES: Final = (Guard, Validation, Masking, Tenancy)
"""The layers that only look at an operation, or change it."""
_SENDING: Final = (Duplicates, Splitting, Paging, Coalescing, Remembering)
"""The layers that have to do with how single calls are sent; what is part of a unit is sent with it."""


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
    ledger: bool
    spool: Spool | None
    clock: Callable[[], float]
    random: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


class AsyncPersistenceService(AllVerbs, Closing):
    """The only way to an adapter: every verb builds an operation and sends it down the chain.

    The chain, outermost first: observers, timing, audit, guard, your `middleware` in the order given, guard again,
    validation, masking, tenancy, identification, caching, duplicates, splitting, paging, coalescing, spooling, retry,
    adapter.
    Layers that are not configured are not in it; validation needs a `schema`, since the default one is a guess.
    `aclose()` closes the adapter only if `owns_adapter`.

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
    another request. `ledger` sends single writes that could be applied twice by way of the ledger (see `sql install`),
    so that they are applied once; units of work over PostgREST always go that way. `spool` keeps writes on disk while
    the database cannot be reached, and applies them once when it is back (see `Spool`). `clock` gives the seconds by
    which deadlines and the age of cached answers are measured; `random` and `sleep` serve the pauses between attempts.
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
        ledger: bool = False,
        spool: Spool | None = None,
        owns_adapter: bool = False,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        check_adapter(adapter)
        capabilities = described(adapter)
        self._capabilities = MappingProxyType(dict(capabilities))
        self._scan_rows = capabilities.scan_rows
        self._adapter = adapter
        self._by_user = adapter if isinstance(adapter, ActsAs) else None
        self._identification = _identification(self._by_user, clock)
        self._schema = default_schema() if schema is None else instance("schema", schema, Schema)
        given = _DEFAULT_POLICY if policy is None else instance("policy", policy, TablePolicy)
        self._policy = given.linked(self._schema)
        self._retry = retry_policy(retry)
        self._client_keys = ClientKeys(self._schema, client_keys, is_given=schema is not None)
        if ledger and not capabilities.get("transactions", False):
            raise ConfigurationError(f"{type(adapter).__name__} has no transactions, which ledger=True needs")
        self._has_ledger = ledger or capabilities.remembers_units
        self._owns_adapter = owns_adapter
        self._owns_forwarding = spool is not None
        self._clock = clock
        self._forwarding = None if spool is None else self._forward(spool, capabilities)
        self._cache = None if (caching := cache_policy(cache)) is None else Caching(caching, self._schema, clock)
        yours = callables("middleware", middleware, "an async (operation, call_next) that returns a Result")
        hooks = callables("audit", audit, "a callable with one AuditEvent")
        watching = callables("observers", observers, "a callable with one CallBegun that returns an Observation")
        coalescing = coalesce_policy(coalesce)
        if self._cache is not None or coalescing is not None:
            check_identified(adapter)
        spooling = None if self._forwarding is None else self._forwarding.spooling
        layers: list[Layer | None] = [
            Observing(watching, self._policy, server=capabilities.server, namespace=capabilities.namespace)
            if watching
            else None,
            Timing(
                metrics_module.default if metrics is None else instance("metrics", metrics, Metrics),
                log=LOGGING_VARIABLE in os.environ if log is None else log,
            ),
            Audit(hooks, self._client_keys.primary, self._schema) if hooks else None,
            Guard(self._policy, self._schema, narrows=False) if yours else None,
            *map(as_layer if spool is None else as_marking_layer, yours),
            Guard(self._policy, self._schema),
            None if schema is None else Validation(self._schema),
            self._masking(mask_reads, mask_writes),
            Tenancy(self._client_keys.primary),
            self._identification,
            self._cache,
            Duplicates(),
            None if capabilities.url_size is None else Splitting(self._schema, capabilities.url_size),
            self._paging(capabilities, row_cap),
            None if coalescing is None else Coalescing(coalescing, self._client_keys, clock=clock),
            Remembering(self._client_keys, every=ledger) if self._has_ledger else None,
            spooling,
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
        self._layers = tuple(layer for layer in layers if layer is not None)
        self._endpoint = dispatch_to(adapter, clock)
        self._chain = compose(self._layers, self._endpoint)
        if self._forwarding is not None:
            self._forwarding.join(self._layers, self._endpoint)
        self._validates = schema is not None
        self._identity = Identity(
            own=True, tenant=None if tenant is None else instance("tenant", tenant, TenantScope), actor=actor
        )

    def _forward(self, spool: Spool, capabilities: Capabilities) -> Forwarding:
        from agent_persistence.pipeline.spooling.forwarding import Forwarding
        from agent_persistence.spool.spool import Spool

        checked = instance("spool", spool, Spool)
        return Forwarding(
            checked,
            self._adapter,
            capabilities,
            self._client_keys,
            self._policy,
            self._schema,
            self._retry,
            self._clock,
        )

    def _masking(self, reads: Redaction | None, writes: Redaction | None) -> Masking | None:
        if reads is None and writes is None:
            return None
        return Masking(self._schema, reads=reads, writes=writes, rows=self._policy.rows)

    def _paging(self, capabilities: Capabilities, row_cap: float | None) -> Paging:
        return Paging(
            self._schema,
            max_rows=self._policy.max_rows,
            row_cap=capabilities.row_cap if row_cap is None else checked_row_cap(row_cap),
            counts=capabilities.counts_pages,
            pages=all(capabilities.get(needed) for needed in ("ordering", "limit", "offset")),
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
            raise knows_no_users(self._adapter)
        named = self._identity.actor if actor is None else checked_actor(actor)
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
        view._owns_adapter = view._owns_forwarding = False
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
        return replace(result, value=marked(result.value)) if result.spooled else result

    async def _commit(self, unit: Unit, unit_id: str) -> Result:
        """Send the unit's operations down the chain, under one identity and deadline, and let them leave together."""
        for capability in unit.capabilities():
            if not self._capabilities.get(capability, False):
                raise UnsupportedOperationError(unit.table, capability)
        most = self._policy.max_batch
        if len(unit.parts) > most:
            problem = f"a unit of {len(unit.parts)} operations is above the policy's max_batch of {most}"
            raise ValidationError(unit.table, problem)
        sent = replace(unit, key=unit_id) if unit.key is None and self._has_ledger else unit
        context = self._context(writes=True)
        chain = self._chain_of_units
        if self._identification is None:
            return await gather(chain, sent, context, unit_id=unit_id)
        return await self._identification(sent, context, lambda _, known: gather(chain, sent, known, unit_id=unit_id))

    @cached_property
    def _chain_of_units(self) -> Rest:
        """The layers that look at each operation of a unit, and those that send the unit as one."""
        spooling = None if self._forwarding is None else self._forwarding.spooling
        sending = [layer for layer in self._layers if isinstance(layer, Retry) or layer is spooling]
        checking = [layer for layer in self._layers if not isinstance(layer, _SENDING) and layer not in sending]
        return compose([*checking, Gathering(), *sending], self._endpoint)

    @cached_property
    def _rules(self) -> Rest:
        return compose([layer for layer in self._layers if isinstance(layer, _RULES)], unsent)

    async def check(self, operation: Operation) -> None:
        """Raise what the rules of this service (policy, schema, masks, tenant) have against the operation.

        Nothing is sent, nothing is reported, and your middleware is not asked.
        """
        await self._rules(operation, self._context(writes=operation.writes))

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
    def layers(self) -> tuple[Layer, ...]:
        """What every call goes through, outermost first; the adapter is behind the last."""
        return self._layers

    @property
    def validates(self) -> bool:
        """Whether calls are checked against declared tables: those of a schema that was given, not of the default."""
        return self._validates

    @property
    def scan_rows(self) -> int:
        """How many rows of a table a search reads, to look at each, before it leaves the rest to the database."""
        return int(min(self._scan_rows, self._policy.max_rows))

    @property
    def cache(self) -> Caching | None:
        """The cache, if there is one: `cache.stats` counts hits, `cache.clear()` forgets everything."""
        return self._cache

    @property
    def spool(self) -> Spool | None:
        """Where writes wait while the database cannot be reached, if they may."""
        return None if self._forwarding is None else self._forwarding.spool

    async def flush_spool(self) -> FlushReport:
        """What waits in the spool is applied, as far as the database can be reached; the report says how far that was.

        A write that the policy or the database refuses is set aside with the reason. Another process that applies them
        already is left to it. SpoolError where the file cannot be used, ConfigurationError without `spool`.
        """
        if self._forwarding is None:
            raise ConfigurationError("this service has no spool; give it one with spool=Spool(path)")
        return await self._forwarding.draining.flush()

    def table(self, model: type[Model], name: str | None = None) -> TypedTable[Model]:
        """The verbs over one table whose rows come back as models; its name is `model.__tablename__` or `name`."""
        return TypedTable(self, model, name)

    def readonly(self) -> ReadOnlyPersistenceFacade:
        """A façade over this service that cannot write; closing it leaves the service open."""
        return ReadOnlyPersistenceFacade(self)

    async def aclose(self) -> None:
        """Close the adapter if this service owns it, and end what it does in the background. Calling it again changes
        nothing."""
        if self._forwarding is not None and self._owns_forwarding:
            await self._forwarding.aclose()
        if self._owns_adapter:
            await self._adapter.aclose()


def _identification(adapter: ActsAs | None, clock: Callable[[], float]) -> Identification | None:
    """The layer that asks the adapter's callable, where it has one."""
    return None if adapter is None or adapter.identity is not None else Identification(adapter, clock)

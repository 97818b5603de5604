"""An async, least-privilege persistence layer for LLM agents on Supabase."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent_persistence._version import __version__ as __version__

if TYPE_CHECKING:
    from agent_persistence import metrics as metrics
    from agent_persistence.backends.base import PersistenceAdapter as PersistenceAdapter
    from agent_persistence.backends.memory.adapter import InMemoryAdapter as InMemoryAdapter
    from agent_persistence.backends.postgres.adapter import PostgresAdapter as PostgresAdapter
    from agent_persistence.backends.postgrest.adapter import SupabaseAdapter as SupabaseAdapter
    from agent_persistence.bulk import bulk_import as bulk_import
    from agent_persistence.client.handles import UnitResults as UnitResults
    from agent_persistence.client.unit_of_work import UnitOfWork as UnitOfWork
    from agent_persistence.exceptions import (
        AccessTokenError as AccessTokenError,
        AdapterError as AdapterError,
        AuthenticationError as AuthenticationError,
        BackendUnavailableError as BackendUnavailableError,
        ColumnNotAllowedError as ColumnNotAllowedError,
        ConfigurationError as ConfigurationError,
        ConflictError as ConflictError,
        ExpectationFailedError as ExpectationFailedError,
        FailureState as FailureState,
        NotStoredYetError as NotStoredYetError,
        OutcomeUnknownError as OutcomeUnknownError,
        OverloadedError as OverloadedError,
        PersistenceError as PersistenceError,
        PersistencePermissionError as PersistencePermissionError,
        ReadOnlyError as ReadOnlyError,
        RowsDroppedError as RowsDroppedError,
        RowSecurityError as RowSecurityError,
        SpoolError as SpoolError,
        SpoolFullError as SpoolFullError,
        TableNotAllowedError as TableNotAllowedError,
        UnsupportedOperationError as UnsupportedOperationError,
        ValidationError as ValidationError,
    )
    from agent_persistence.factory import (
        create_persistence_agent as create_persistence_agent,
        create_readonly_rag_facade as create_readonly_rag_facade,
    )
    from agent_persistence.filters import (
        adjacent as adjacent,
        all_of as all_of,
        any_of as any_of,
        contained_by as contained_by,
        contains as contains,
        eq as eq,
        exists as exists,
        gt as gt,
        gte as gte,
        ilike as ilike,
        imatch as imatch,
        in_ as in_,
        is_false as is_false,
        is_null as is_null,
        is_true as is_true,
        like as like,
        lt as lt,
        lte as lte,
        match as match,
        ne as ne,
        not_ as not_,
        not_in as not_in,
        not_null as not_null,
        overlaps as overlaps,
        text_search as text_search,
    )
    from agent_persistence.operations import Operation as Operation, Result as Result
    from agent_persistence.operations.spooled import SpooledRow as SpooledRow, is_spooled as is_spooled
    from agent_persistence.persistence_agent import PersistenceAgent as PersistenceAgent
    from agent_persistence.persistence_config import (
        PersistenceConfig as PersistenceConfig,
        get_read_allowlist as get_read_allowlist,
        get_write_allowlist as get_write_allowlist,
    )
    from agent_persistence.pipeline.audit.event import AuditEvent as AuditEvent
    from agent_persistence.pipeline.audit.log import AuditLog as AuditLog, verify_audit_log as verify_audit_log
    from agent_persistence.pipeline.caching.policy import CachePolicy as CachePolicy
    from agent_persistence.pipeline.chain import Middleware as Middleware, Next as Next
    from agent_persistence.pipeline.coalescing.policy import CoalescePolicy as CoalescePolicy
    from agent_persistence.policy import TablePolicy as TablePolicy
    from agent_persistence.policy.filter_json import parse_filters as parse_filters
    from agent_persistence.policy.identity import Identity as Identity, RefreshingToken as RefreshingToken
    from agent_persistence.policy.retry import RetryPolicy as RetryPolicy
    from agent_persistence.policy.tenant import TenantScope as TenantScope
    from agent_persistence.query.computed import increment as increment, merge as merge
    from agent_persistence.query.ordering import asc as asc, desc as desc
    from agent_persistence.query.records import NULL as NULL
    from agent_persistence.rag_context import RAGContext as RAGContext, build_rag_context as build_rag_context
    from agent_persistence.redaction import Redaction as Redaction
    from agent_persistence.schema_registry import Column as Column, Schema as Schema, Table as Table
    from agent_persistence.service import (
        AsyncPersistenceService as AsyncPersistenceService,
        ReadOnlyPersistenceFacade as ReadOnlyPersistenceFacade,
    )
    from agent_persistence.spool.spool import Spool as Spool


_MODULES = {
    "backends.base": "PersistenceAdapter",
    "backends.memory.adapter": "InMemoryAdapter",
    "backends.postgres.adapter": "PostgresAdapter",
    "backends.postgrest.adapter": "SupabaseAdapter",
    "pipeline.audit.event": "AuditEvent",
    "pipeline.audit.log": "AuditLog verify_audit_log",
    "bulk.import_rows": "bulk_import",
    "client.handles": "UnitResults",
    "client.unit_of_work": "UnitOfWork",
    "pipeline.caching.policy": "CachePolicy",
    "pipeline.chain": "Middleware Next",
    "pipeline.coalescing.policy": "CoalescePolicy",
    "exceptions": "AccessTokenError AdapterError AuthenticationError BackendUnavailableError ColumnNotAllowedError"
    " ConfigurationError ConflictError ExpectationFailedError FailureState NotStoredYetError OutcomeUnknownError"
    " OverloadedError PersistenceError PersistencePermissionError ReadOnlyError RowSecurityError RowsDroppedError"
    " SpoolError SpoolFullError TableNotAllowedError UnsupportedOperationError ValidationError",
    "factory": "create_persistence_agent create_readonly_rag_facade",
    "policy.filter_json": "parse_filters",
    "query.filters": "adjacent all_of any_of contained_by contains eq exists gt gte ilike imatch in_ is_false is_null"
    " is_true"
    " like lt lte match ne not_ not_in not_null overlaps text_search",
    "policy.identity": "Identity RefreshingToken",
    "operations": "Operation Result",
    "operations.spooled": "SpooledRow is_spooled",
    "query.computed": "increment merge",
    "query.ordering": "asc desc",
    "persistence_agent": "PersistenceAgent",
    "persistence_config": "PersistenceConfig get_read_allowlist get_write_allowlist",
    "policy.tables": "TablePolicy",
    "rag_context": "RAGContext build_rag_context",
    "query.records": "NULL",
    "redaction.redacting": "Redaction",
    "policy.retry": "RetryPolicy",
    "schema.registry": "Column Schema Table",
    "spool.spool": "Spool",
    "service": "AsyncPersistenceService ReadOnlyPersistenceFacade",
    "policy.tenant": "TenantScope",
}
"""The module of each public name, imported when one of its names is first asked for."""

_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted([*_HOME, "metrics"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("agent_persistence.metrics")
    try:
        module = _HOME[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

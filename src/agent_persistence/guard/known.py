"""The names that the rules are about, and the bounds of the search."""

from __future__ import annotations

from typing import Final

GOVERNANCE_TABLES: Final = frozenset({"clients", "campaigns"})
KNOWN_CONSTANTS: Final = {
    "GOVERNANCE_TABLES": tuple(sorted(GOVERNANCE_TABLES)),
    "BUSINESS_TABLES": (*sorted(GOVERNANCE_TABLES), "leads", "conversations", "messages", "sequences"),
}
"""Collections that `agent_persistence` itself offers."""
ADAPTERS: Final = frozenset({"SupabaseAdapter", "PostgresAdapter"})
VERBS: Final = frozenset({"write", "batch_write", "bulk_write", "upsert", "update", "delete"})
TABLE_VERBS: Final = VERBS | {"insert"}
"""Of something that stands for one table: `agent.table(Client)`, `client.table("clients")`."""
RAW_ROOTS: Final = frozenset({"supabase", "supabase_py", "postgrest"})
RAW_NAMES: Final = frozenset(
    {"create_client", "acreate_client", "create_async_client", "Client", "AsyncClient", "SyncClient"}
    | {"PostgrestClient", "AsyncPostgrestClient", "SyncPostgrestClient", "create"}
)
CALLERS: Final = frozenset(
    {"partial", "partialmethod", "map", "starmap", "submit", "run", "run_sync", "run_in_executor", "to_thread"}
    | {"start_soon", "start", "call_soon", "call_later", "apply", "apply_async"}
)
"""Functions that call, or bind, the function that they are given."""
MESSAGES: Final = {
    "AP001": "{name} is constructed outside a factory; use create_persistence_agent()",
    "AP002": "{table} is a governance table: written to outside tests; let its owner's tool do that",
    "AP003": "{name} creates a raw Supabase client outside a factory; use create_persistence_agent()",
}

MAX_FILE_BYTES: Final = 5_000_000
MAX_VALUES: Final = 64
MAX_DEPTH: Final = 40
MAX_MODULES: Final = 500
MAX_RECURSION: Final = 10_000
"""Of Python functions, which need no stack of the machine; the parser keeps the default."""
SKIPPED: Final = frozenset({"__pycache__", "node_modules"})

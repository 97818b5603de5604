"""What `from agent_persistence import` offers, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import agent_persistence
from agent_persistence import exceptions

NAMES = {
    *("AsyncPersistenceService", "PersistenceAgent", "ReadOnlyPersistenceFacade"),
    *("PersistenceAdapter", "InMemoryAdapter", "SupabaseAdapter"),
    *("PersistenceConfig", "TablePolicy", "RetryPolicy", "AuditEvent", "Schema"),
    *("AuditLog", "verify_audit_log", "Redaction", "Identity", "RefreshingToken"),
    *("get_read_allowlist", "get_write_allowlist", "create_persistence_agent", "create_readonly_rag_facade"),
    *("RAGContext", "build_rag_context", "bulk_import"),
    *("Operation", "Result", "Middleware", "Next", "NULL", "asc", "desc", "metrics"),
    *("eq", "exists", "ne", "gt", "gte", "lt", "lte", "in_", "not_in", "like", "ilike"),
    *("is_null", "not_null", "is_true", "is_false", "all_of", "any_of", "not_"),
    *("match", "imatch", "contains", "contained_by", "overlaps", "adjacent", "text_search", "parse_filters"),
    *("increment", "merge"),
    *(
        "PersistenceError",
        "ConfigurationError",
        "AccessTokenError",
        "FailureState",
        "PostgresAdapter",
        "TenantScope",
        "CachePolicy",
        "CoalescePolicy",
        "Table",
        "Column",
        "PersistencePermissionError",
        "TableNotAllowedError",
    ),
    *("ColumnNotAllowedError", "ReadOnlyError", "ValidationError", "UnsupportedOperationError"),
    *("AdapterError", "ConflictError", "BackendUnavailableError", "OverloadedError", "OutcomeUnknownError"),
    *("RowsDroppedError", "AuthenticationError", "RowSecurityError"),
    *("ExpectationFailedError", "UnitOfWork", "UnitResults"),
    *("Spool", "SpooledRow", "is_spooled", "SpoolError", "SpoolFullError", "NotStoredYetError"),
}

IMPORT_ALONE = """
import sys
import agent_persistence
print(*sorted(set(sys.modules) & {"httpx", "pydantic", "pydantic_core", "tenacity", "anyio", "asyncio", "trio"}))
"""
IMPORT_ALL = """
import sys
import anyio.lowlevel, httpx, pydantic, tenacity
class Used(pydantic.BaseModel):  # what the dependencies import themselves, some of it when they are used
    secret: pydantic.SecretStr
before = {name.partition(".")[0] for name in sys.modules}
import agent_persistence
for name in agent_persistence.__all__:
    getattr(agent_persistence, name)
after = {name.partition(".")[0] for name in sys.modules}
print(*sorted(after - before - set(sys.stdlib_module_names)))
"""


def _printed(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_all_is_the_public_surface() -> None:
    """No public name is missing and none is there by accident."""
    assert set(agent_persistence.__all__) == NAMES


def test_every_name_is_listed_once() -> None:
    """In alphabetical order, so that a change of the surface shows in one line."""
    assert list(agent_persistence.__all__) == sorted(set(agent_persistence.__all__))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_resolves(name: str) -> None:
    """And to the same object each time."""
    assert getattr(agent_persistence, name) is getattr(agent_persistence, name)
    assert name in dir(agent_persistence)


def test_every_error_is_public() -> None:
    """A caller can name whatever it may have to catch."""
    assert {name for name in vars(exceptions) if name.endswith("Error")} <= NAMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy names do not hide a misspelt one."""
    with pytest.raises(AttributeError, match="creat_persistence_agent"):
        _ = agent_persistence.creat_persistence_agent


def test_importing_the_package_imports_none_of_its_dependencies() -> None:
    """Start-up costs nothing until a name is asked for."""
    assert _printed(IMPORT_ALONE) == ""


def test_importing_every_name_imports_nothing_beyond_the_dependencies() -> None:
    """Only the standard library and what httpx, anyio, pydantic and tenacity bring along."""
    assert _printed(IMPORT_ALL) == "agent_persistence"


def test_no_two_classes_share_a_name() -> None:
    """A name in a traceback or a search leads to one class; `sync` alone repeats those that it makes blocking."""
    homes = defaultdict(list)
    for path in sorted(Path(agent_persistence.__file__).parent.rglob("*.py")):
        if path.name != "sync.py":
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes[node.name].append(path.name)
    assert not {name: files for name, files in homes.items() if len(files) > 1}

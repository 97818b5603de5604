"""The SQL that a table needs to be searched, for its owner to read and run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent_persistence.backends.installation import listed, template
from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.ext._embeddings.embedder import check_positive
from agent_persistence.query.identifiers import is_identifier

_MAX_INDEXED: Final = 2_000
"""HNSW_MAX_DIM in hnsw.h."""
_TYPE = re.compile(r"[a-z][a-z0-9_ ]{0,62}")


def search_sql(
    table: str,
    *,
    dimensions: int,
    text: str = "content",
    vector: str = "embedding",
    key: str = "id",
    key_type: str = "uuid",
    tenant: str | None = None,
    tenant_type: str = "uuid",
    config: str = "simple",
    roles: Iterable[str] = ("authenticated", "service_role"),
    db_schema: str = "public",
) -> str:
    """Return SQL that makes a table searchable by meaning and by words; run it as the owner, again if you like.

    It adds a vector column with an HNSW index, an index of the words of `text` in the text search configuration
    `config`, a trigger that empties the vector when the text changes, and two functions for `roles` alone:
    `match_<table>(query_embedding, match_threshold, match_count)` with rows (key, similarity) and
    `hybrid_search_<table>(query_text, query_embedding, match_count, full_text_weight, semantic_weight, rrf_k)` with
    rows (key, score). Both are STABLE and run with the caller's rights. With `tenant`, the column that has the tenant,
    both need a further argument `tenant`, and find that tenant's rows alone.
    """
    functions = {"match": f"match_{table}", "hybrid": f"hybrid_search_{table}"}
    names = {"table": table, "text": text, "vector": vector, "key": key, "config": config, "schema": db_schema}
    for option, name in {**names, **functions, **({} if tenant is None else {"tenant": tenant})}.items():
        if not is_identifier(name):
            raise ConfigurationError(f"{option}: {printable(name)} is no plain name; lower-case letters, digits and _")
    for option, type_name in (("key_type", key_type), ("tenant_type", tenant_type)):
        if not _TYPE.fullmatch(type_name):
            raise ConfigurationError(f"{option}: {printable(type_name)} is no plain name of a type, such as 'uuid'")
    check_positive("dimensions", dimensions)
    if dimensions > _MAX_INDEXED:
        raise ConfigurationError(f"an index has at most {_MAX_INDEXED} dimensions; ask the model for shorter vectors")
    values = {**names, **functions, "key_type": key_type, "dimensions": str(dimensions)}
    return "\n".join(_statements(values, tenant, tenant_type, listed(roles)))


def _statements(values: dict[str, str], tenant: str | None, tenant_type: str, roles: str) -> Iterator[str]:
    tenancy = {"tenant_argument": "", "tenant_of_match": "", "tenant_of_hybrid": ""}
    if tenant is not None:
        tenancy["tenant_argument"] = f"\n  tenant {tenant_type},"
        for side in ("match", "hybrid"):
            tenancy[f"tenant_of_{side}"] = f' and d."{tenant}" = {values[side]}.tenant'
    for name in ("vector_column", "match", "hybrid_search"):
        yield template(name).format(**values, **tenancy)
    for side in ("match", "hybrid"):
        yield template("execute_right").format(**values, function=values[side], roles=roles)

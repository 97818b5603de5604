"""A PostgREST-compatible server on a PostgreSQL of its own, both from packages, for tests and demos."""

from .local import LocalServer, running_server

__all__ = ["LocalServer", "running_server"]

"""Keeps an HTTP client's loggers from showing our requests: URLs hold filter values, headers hold keys."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_quiet: ContextVar[bool] = ContextVar("agent_persistence_quiet", default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """The block's requests are not logged by the client."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def _unless_quiet(record: logging.LogRecord) -> bool:
    return not _quiet.get()


for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks"):
    logging.getLogger(_name).addFilter(_unless_quiet)

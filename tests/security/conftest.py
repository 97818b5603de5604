"""Fixtures that several of these files use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security import users
from tests.server import LocalServer


@pytest.fixture(scope="session")
def users_server() -> Iterator[LocalServer]:
    """A server of its own, where a policy keeps the rows of `leads` for their owners. Rows are never taken away."""
    with users.running() as server:
        yield server

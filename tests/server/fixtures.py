"""The pytest fixture of the local server, for a conftest to import."""

from collections.abc import Iterator

import pytest

from . import LocalServer, running_server


@pytest.fixture(scope="session")
def local_server() -> Iterator[LocalServer]:
    """One server for the whole session; a test that writes calls `reset()` first."""
    with running_server() as server:
        yield server

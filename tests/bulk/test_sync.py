"""bulk_import without `await`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_persistence.bulk import ImportStoppedError, Reject
from agent_persistence.sync import PersistenceService, bulk_import, create_persistence_agent, look_at
from tests.bulk.imports import leads, memory


def test_a_file_is_imported(tmp_path: Path) -> None:
    """With the same options and the same report."""
    with create_persistence_agent("memory") as agent:
        report = bulk_import(agent, "leads", leads(tmp_path / "l.csv", 12), chunk_rows=5)
        assert (report.rows, report.chunks) == (12, 3)
        assert agent.count("leads") == 12


def test_an_iterable_is_read_in_the_callers_thread() -> None:
    """So that it may call the verbs itself, and use what belongs to its thread."""
    threads = set()
    with PersistenceService(memory()) as service:
        service.batch_write("leads", [{"email": f"u{n}@a.example"} for n in range(250)])

        def copied() -> Iterator[dict[str, Any]]:
            for row in service.iterate("leads"):
                threads.add(threading.current_thread())
                yield {"email": f"copy-{row['email']}"}

        assert bulk_import(service, "leads", copied(), chunk_rows=100).rows == 250
        assert service.count("leads") == 500
    assert threads == {threading.current_thread()}


def test_an_import_that_ends_early_stops_reading() -> None:
    """However much there were still to come."""
    read = []

    def endless() -> Iterator[Any]:
        number = 0
        while True:
            read.append(number)
            yield "no record"

    with create_persistence_agent("memory") as agent, pytest.raises(ImportStoppedError):
        bulk_import(agent, "leads", endless())
    assert len(read) < 1000


def test_what_the_iterable_raises_is_raised() -> None:
    """And nothing waits for it any more."""

    def failing() -> Iterator[Any]:
        yield {"email": "a@x.io"}
        raise KeyError("mine")

    with create_persistence_agent("memory") as agent, pytest.raises(KeyError, match="mine"):
        bulk_import(agent, "leads", failing())


def test_functions_are_called(tmp_path: Path) -> None:
    """With progress and rejects, from the thread of the event loop."""
    rejects: list[Reject] = []
    told: list[Any] = []
    with create_persistence_agent("memory") as agent:
        bulk_import(agent, "leads", [{"email": "a@x.io"}, 7], rejects=rejects.append, progress=told.append)
    assert [reject.line for reject in rejects] == [2]
    assert told[-1].is_final


def test_a_look_at_a_file_needs_no_await(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("email;score\na@x.io;1\n")
    with create_persistence_agent("memory") as agent:
        look = look_at(agent, "leads", path)
        assert look.options == {"delimiter": ";"}
        assert bulk_import(agent, "leads", path, **look.options).rows == 1

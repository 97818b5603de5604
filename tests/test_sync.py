"""The sync module: one background event loop a process, the same verbs and signatures, no await."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import agent_persistence
from agent_persistence import (
    ConfigurationError,
    InMemoryAdapter,
    ReadOnlyError,
    TableNotAllowedError,
    factory,
    rag_context,
    sync,
)
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.service import AsyncPersistenceService, ReadOnlyPersistenceFacade
from tests.server import LocalServer

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (sync.PersistenceAgent, PersistenceAgent),
    (sync.PersistenceService, AsyncPersistenceService),
    (sync.ReadOnlyPersistenceFacade, ReadOnlyPersistenceFacade),
]


def _verbs(cls: type[Any]) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_") and inspect.iscoroutinefunction(getattr(cls, name))}


@pytest.mark.parametrize(("blocking", "awaited"), PAIRS, ids=lambda cls: cls.__name__)
def test_every_verb_has_the_signature_and_docstring_of_the_async_one(blocking: type[Any], awaited: type[Any]) -> None:
    """What a caller of the async class knows holds for the blocking one."""
    for name in _verbs(awaited) - {"aclose"}:
        verb = getattr(blocking, name)
        assert inspect.signature(verb) == inspect.signature(getattr(awaited, name)), name
        assert inspect.getdoc(verb) == inspect.getdoc(getattr(awaited, name)), name


@pytest.mark.parametrize("name", ["create_persistence_agent", "create_readonly_rag_facade"])
def test_the_factories_take_the_same_arguments(name: str) -> None:
    """A caller changes the import and nothing else."""
    blocking = inspect.signature(getattr(sync, name)).parameters
    awaited = inspect.signature(getattr(factory, name)).parameters
    assert list(blocking) == list(awaited)
    assert [p.default for p in blocking.values()] == [p.default for p in awaited.values()]


def test_the_context_builder_takes_the_same_arguments() -> None:
    """The blocking builder is the async one, waited for."""
    assert inspect.signature(sync.build_rag_context) == inspect.signature(rag_context.build_rag_context)


def test_an_agent_writes_and_a_facade_reads_without_await() -> None:
    """The closing example of the package's document, word for word but for the imports."""
    agent = sync.create_persistence_agent(kind="memory")
    agent.write("leads", {"email": "a@x.io"})
    ro = sync.create_readonly_rag_facade(kind="memory")
    ctx = sync.build_rag_context(ro, lead_filters={"email": "a@x.io"}, limits={"leads": 10})
    assert "<email>a@x.io</email>" in ctx.to_prompt()


def test_every_verb_reaches_the_store() -> None:
    """write, batch_write, upsert, read, query, get_columns and capabilities answer as their async originals."""
    with sync.PersistenceService(InMemoryAdapter()) as service:
        first = service.write("leads", {"email": "a@x.io"})
        service.batch_write("leads", [{"email": "b@x.io"}, {"email": "c@x.io"}])
        service.upsert("leads", {"id": first["id"], "status": "won"})
        assert (service.read("leads", first["id"]) or {})["status"] == "won"
        assert len(service.query("leads", order_by="email", limit=2)) == 2
        assert "email" in (service.get_columns("leads") or [])
        assert service.capabilities["equality_filters"]


def test_it_works_and_blocks_inside_a_running_event_loop() -> None:
    """Notebooks run a loop in the caller's thread already."""

    async def cell() -> int:
        agent = sync.create_persistence_agent(kind="memory")
        agent.write("leads", {"email": "a@x.io"})
        return len(agent.query("leads"))

    assert asyncio.run(cell()) == 1


def test_several_threads_share_one_loop_thread() -> None:
    """Calls from many threads are all applied, and start one background thread between them."""
    agent = sync.create_persistence_agent(kind="memory")
    agent.query("leads")
    before = threading.active_count()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: agent.write("leads", {"email": f"{number}@x.io"}), range(64)))
    assert len(agent.query("leads")) == 64
    assert threading.active_count() == before


def test_the_facade_has_no_writing_verb() -> None:
    """Touching one raises the same error as on the async façade."""
    facade = sync.create_readonly_rag_facade(kind="memory")
    assert not hasattr(facade, "write")
    with pytest.raises(ReadOnlyError):
        facade.upsert  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        facade.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_errors_arrive_as_themselves() -> None:
    """The portal wraps nothing."""
    with pytest.raises(TableNotAllowedError):
        sync.create_persistence_agent(kind="memory").write("clients", {"name": "n"})


def test_an_agent_over_a_service_shares_it() -> None:
    """`service=` takes a blocking service and leaves it open."""
    service = sync.PersistenceService(InMemoryAdapter())
    with sync.create_persistence_agent(service=service) as agent:
        agent.write("leads", {"email": "a@x.io"})
    assert len(service.query("leads")) == 1


def _run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_forked_child_gets_a_thread_and_connections_of_its_own(server: LocalServer) -> None:
    """Workers of gunicorn and celery fork after the application was imported and used."""
    ended = _run(
        """
        import os, sys, warnings
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        from agent_persistence.sync import create_persistence_agent
        agent = create_persistence_agent()
        agent.write("leads", {"email": "parent@x.io"})
        child = os.fork()
        if child == 0:
            agent.write("leads", {"email": "child@x.io"})
            os._exit(len(agent.query("leads")))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), len(agent.query("leads")))
        """,
        SUPABASE_URL=server.url,
        SUPABASE_SERVICE_KEY=server.service_key,
    )
    assert (ended.stdout.split(), ended.stderr) == (["2", "2"], "")


def test_the_interpreter_exits_by_itself(server: LocalServer) -> None:
    """Open connections and the background thread end with the program: no hang, no warning."""
    ended = _run(
        """
        from agent_persistence.sync import create_persistence_agent
        agent = create_persistence_agent()
        agent.write("leads", {"email": "a@x.io"})
        print("done")
        """,
        SUPABASE_URL=server.url,
        SUPABASE_SERVICE_KEY=server.service_key,
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "done", "")


LEFT = """
    from agent_persistence.sync import create_persistence_agent
    agent = create_persistence_agent({kind})
    agent.batch_write("leads", [{{"email": f"{{number}}@x.io"}} for number in range(250)])
"""
LEAVING = {
    "by break at module level": """
        for row in agent.iterate("leads", page_size=10, order_by="email"):
            break
        """,
    "by an error": """
        rows = agent.iterate("leads", page_size=10, order_by="email")
        try:
            for row in rows:
                raise ValueError("left")
        except ValueError as error:
            kept = error
        """,
    "half read and never closed": """
        rows = agent.iterate("leads", page_size=10, order_by="email")
        next(rows)
        """,
    "in a __del__": """
        class Reader:
            def __init__(self):
                self.rows = agent.iterate("leads", page_size=10, order_by="email")
                next(self.rows)
            def __del__(self):
                self.rows.close()
        reader = Reader()
        """,
}


@pytest.mark.parametrize("kind", ["", '"memory"'], ids=["supabase", "memory"])
@pytest.mark.parametrize("leaving", LEAVING.values(), ids=LEAVING)
def test_the_interpreter_exits_with_an_iteration_left(server: LocalServer, leaving: str, kind: str) -> None:
    """The event loop ends first, and closes it: no hang, no warning, no error from a destructor."""
    script = textwrap.dedent(LEFT.format(kind=kind)) + textwrap.dedent(leaving) + "print('done')\n"
    ended = _run(script, SUPABASE_URL=server.url, SUPABASE_SERVICE_KEY=server.service_key)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "done", "")


def test_a_blocking_verb_in_the_event_loops_own_thread_is_refused() -> None:
    """A middleware, a hook or a callback runs there: the verb would wait for itself."""
    service: sync.PersistenceService
    refused: list[str] = []

    def hook(event: Any) -> None:
        try:
            service.query("leads")
        except ConfigurationError as error:
            refused.append(str(error))

    async def middleware(operation: Any, call_next: Any) -> Any:
        service.count("leads")
        return await call_next(operation)

    service = sync.PersistenceService(InMemoryAdapter(), audit=hook)
    service.query("leads")
    assert len(refused) == 1
    assert "with await" in refused[0]
    service = sync.PersistenceService(InMemoryAdapter(), middleware=[middleware])
    with pytest.raises(ConfigurationError, match="with await"):
        service.query("leads")


def test_an_interrupted_call_is_cancelled() -> None:
    """Ctrl-C in the waiting thread stops the call in the loop as well."""
    ended = _run(
        """
        import os, signal, threading, anyio
        from agent_persistence import InMemoryAdapter
        from agent_persistence.sync import PersistenceService

        class Hangs(InMemoryAdapter):
            async def write(self, table, record):
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
                try:
                    await anyio.sleep(30)
                except BaseException as error:
                    os.write(1, f"inside: {type(error).__name__}\\n".encode())
                    raise

        try:
            PersistenceService(Hangs()).write("leads", {"email": "a@x.io"})
        except KeyboardInterrupt:
            os.write(1, b"outside: KeyboardInterrupt\\n")
        """
    )
    assert sorted(ended.stdout.splitlines()) == ["inside: CancelledError", "outside: KeyboardInterrupt"], ended.stderr


def test_the_package_version_is_told() -> None:
    """The change log continues the document's v0.4."""
    assert agent_persistence.__version__ == "0.6.0"


def test_a_unit_of_work_is_committed_without_await() -> None:
    """Its other methods are the async one's; the result is found by the same handles."""
    with sync.create_persistence_agent(kind="memory") as agent:
        unit = agent.unit_of_work()
        lead = unit.upsert("leads", {"email": "a@x.io"}, on_conflict=["email"])
        note = unit.write("inquiries", {"email": lead["email"], "body": "hello"})
        results = unit.commit()
        assert results[note]["email"] == "a@x.io"
        assert agent.count("leads") == 1

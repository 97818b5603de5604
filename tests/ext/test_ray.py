"""A sink of Ray's: what a task writes when it runs once, twice, and as another run of the program.

`python -m tests.ext.ray_cluster` starts a cluster, and kills its workers.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

import anyio
import pytest

from agent_persistence import InMemoryAdapter, PersistenceAgent, TablePolicy, create_persistence_agent
from agent_persistence.bulk import ImportStoppedError
from agent_persistence.ext.embeddings import NonSemanticEmbedder
from agent_persistence.ext.ray import PersistenceSink, embed_dataset
from agent_persistence.schema_registry import default_schema

pa: Any = import_module("pyarrow")
STORE: Final[list[InMemoryAdapter]] = []


@pytest.fixture(autouse=True)
def store() -> Iterator[InMemoryAdapter]:
    STORE[:] = [InMemoryAdapter(schema=default_schema())]
    yield STORE[0]
    STORE.clear()


def connect() -> PersistenceAgent:
    policy = TablePolicy(read={"clients"}, write={"clients"})
    return create_persistence_agent(adapter=STORE[0], policy=policy, schema=default_schema())


@dataclass
class Task:
    """What a worker gets."""

    task_idx: int


def names(*given: str) -> Any:
    return pa.table({"name": list(given)})


def stored() -> list[str]:
    return sorted(row["name"] for row in anyio.run(STORE[0].query, "clients"))


def written(sink: PersistenceSink, *tasks: list[Any]) -> PersistenceSink:
    """As Ray writes: the sink is pickled for each task, and the driver gets what they return."""
    returns = [pickle.loads(pickle.dumps(sink)).write(blocks, Task(task)) for task, blocks in enumerate(tasks)]
    sink.on_write_complete(SimpleNamespace(write_returns=returns))
    return sink


def test_a_task_that_runs_again_stores_nothing_twice() -> None:
    """As Ray runs it where its worker died; equal rows are rows."""
    sink = PersistenceSink(connect, "clients")
    for _ in range(2):
        written(sink, [names("a", "a"), names("a")], [names("b")])
    assert stored() == ["a", "a", "a", "b"]
    assert str(sink.report) == "clients: 4 rows in 2 tasks, 4 of them stored before"


def test_another_run_with_the_same_key_stores_nothing_twice() -> None:
    """And one without a key is another import: the control."""
    for _ in range(2):
        written(PersistenceSink(connect, "clients", key="crawl"), [names("a", "b")])
    assert stored() == ["a", "b"]
    for _ in range(2):
        written(PersistenceSink(connect, "clients"), [names("a", "b")])
    assert len(stored()) == 6


def test_a_dataset_that_comes_in_other_blocks_is_refused() -> None:
    """Its rows cannot be known again."""
    written(PersistenceSink(connect, "clients", key="crawl"), [names("a")], [names("b")])
    with pytest.raises(ImportStoppedError, match="in another order each time"):
        written(PersistenceSink(connect, "clients", key="crawl"), [names("b")], [names("a")])
    assert stored() == ["a", "b"]


def test_rows_are_merged_in_whatever_blocks_they_come() -> None:
    """By columns that say which row is meant."""
    for blocks in ([names("a")], [names("b")]), ([names("b", "a")],):
        keyed = [[block.append_column("id", [ids(block)]) for block in task] for task in blocks]
        written(PersistenceSink(connect, "clients", on_conflict=["id"]), *keyed)
    assert stored() == ["a", "b"]


def ids(block: Any) -> list[str]:
    return [f"00000000-0000-4000-8000-0000000000{ord(name):02x}" for name in block.column("name").to_pylist()]


def test_texts_become_vectors() -> None:
    """One for each text, none where there is no text, under the name that is asked for."""
    asked: dict[str, Any] = {}

    class Dataset:
        def map_batches(self, worker: Any, **options: Any) -> Any:
            asked.update(options)
            return worker(*options["fn_constructor_args"])

    embed: Any = embed_dataset(Dataset(), lambda: NonSemanticEmbedder(4), text="name", vector="v", num_gpus=1)  # type: ignore[arg-type]
    batch = embed(names("one", "", "two"))
    assert [vector and len(vector) for vector in batch.column("v").to_pylist()] == [4, None, 4]
    assert (asked["num_gpus"], asked["concurrency"], asked["batch_format"]) == (1, 1, "pyarrow")
    assert embed(names("")).column("v").to_pylist() == [None]

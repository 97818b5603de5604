"""The read-only façade: no public or accidental path writes."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    PersistenceAgent,
    PersistencePermissionError,
    ReadOnlyError,
    ReadOnlyPersistenceFacade,
    TableNotAllowedError,
    TablePolicy,
)
from agent_persistence.operations import Operation, Upsert, Write
from tests.doubles import RecordingAdapter, shown

pytestmark = pytest.mark.anyio
WRITING = ["write", "batch_write", "bulk_write", "upsert", "upsert_many", "update", "delete"]
READING = {"read", "query", "get_columns", "count", "page", "call", "capabilities", "pinned", "aclose"}


@pytest.fixture
def adapter() -> RecordingAdapter:
    return RecordingAdapter()


@pytest.fixture
def facade(adapter: RecordingAdapter) -> ReadOnlyPersistenceFacade:
    return AsyncPersistenceService(adapter).readonly()


@pytest.mark.parametrize("verb", WRITING)
def test_a_writing_verb_is_not_there(verb: str, facade: ReadOnlyPersistenceFacade) -> None:
    """By attribute, `hasattr`, `getattr`, `dir`, and on the class."""
    assert not hasattr(facade, verb)
    assert getattr(facade, verb, "absent") == "absent"
    assert verb not in dir(facade)
    assert not hasattr(ReadOnlyPersistenceFacade, verb)
    assert verb not in {name for name, _ in inspect.getmembers(facade)}


@pytest.mark.parametrize("verb", WRITING)
def test_touching_a_writing_verb_says_where_to_write(verb: str, facade: ReadOnlyPersistenceFacade) -> None:
    """ReadOnlyError is a refusal of permission and an AttributeError, and names the verb."""
    with pytest.raises(ReadOnlyError, match="PersistenceAgent") as caught:
        getattr(facade, verb)
    assert isinstance(caught.value, PersistencePermissionError)
    assert isinstance(caught.value, AttributeError)
    assert caught.value.verb == verb


def test_the_writing_verbs_are_those_of_the_agent() -> None:
    """Control: every public coroutine of an agent is listed here, as writing or as reading."""
    verbs = {name for name, _ in inspect.getmembers(PersistenceAgent, inspect.iscoroutinefunction) if name[0] != "_"}
    assert verbs <= READING | set(WRITING)


async def test_the_reading_verbs_read(facade: ReadOnlyPersistenceFacade, adapter: RecordingAdapter) -> None:
    """Control: what is forwarded arrives."""
    await facade.read("leads", "1")
    await facade.query("leads")
    await facade.get_columns("leads")
    await facade.count("leads")
    assert adapter.verbs == ["read", "query", "get_columns", "count"]


@pytest.mark.parametrize("operation", [Write("leads", {"email": "a"}), Upsert("leads", {"email": "a"})], ids=shown)
async def test_an_operation_that_writes_does_not_pass(
    operation: Operation, facade: ReadOnlyPersistenceFacade, adapter: RecordingAdapter
) -> None:
    """Not even by the private entrance that all verbs share."""
    with pytest.raises(ReadOnlyError):
        await facade._invoke(operation)
    assert adapter.calls == []


@pytest.mark.parametrize("name", ["service", "adapter", "_service", "_adapter", "policy", "_clean", "__dict__"])
def test_nothing_that_could_write_hangs_on_a_facade(name: str, facade: ReadOnlyPersistenceFacade) -> None:
    """Neither the service nor its parts are attributes of it."""
    assert not hasattr(facade, name)


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *(
            lambda facade, protocol=protocol: pickle.dumps(facade, protocol)
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        lambda facade: facade.__reduce_ex__(4),
        lambda facade: facade.__reduce__(),
    ],
)
def test_a_facade_can_be_neither_copied_nor_pickled(
    duplicate: Callable[[Any], Any], facade: ReadOnlyPersistenceFacade
) -> None:
    """A copy would carry the service out."""
    with pytest.raises(TypeError):
        duplicate(facade)


def test_the_state_of_a_facade_is_not_handed_out(facade: ReadOnlyPersistenceFacade) -> None:
    """`__getstate__` is what libraries for copying and pickling call."""
    with pytest.raises(TypeError):
        facade.__getstate__()


@pytest.mark.parametrize("name", ["write", "query", "_invoke", "capabilities", "anything", "__class__"])
def test_no_attribute_can_be_set_or_deleted(name: str, facade: ReadOnlyPersistenceFacade) -> None:
    """Neither a verb nor the class of it."""
    with pytest.raises(AttributeError):
        setattr(facade, name, PersistenceAgent)
    with pytest.raises(AttributeError):
        delattr(facade, name)


def test_a_facade_cannot_be_set_up_anew(facade: ReadOnlyPersistenceFacade) -> None:
    """What it reads was decided when it was made."""
    with pytest.raises(AttributeError):
        facade.__init__(AsyncPersistenceService(RecordingAdapter()))  # type: ignore[misc]


async def test_the_lists_are_frozen_when_the_facade_is_made(adapter: RecordingAdapter) -> None:
    """Edits of the collection passed in have no effect."""
    tables: Any = {"leads"}
    facade = AsyncPersistenceService(adapter, policy=TablePolicy(read=tables)).readonly()
    tables.add("clients")
    with pytest.raises(TableNotAllowedError):
        await facade.query("clients")
    assert facade.readable_tables == {"leads"}
    assert isinstance(facade.readable_tables, frozenset)


async def test_a_facade_keeps_the_policy_and_the_chain_of_its_service(adapter: RecordingAdapter) -> None:
    """It is a narrower view of the same service, no way round it."""
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read=frozenset({"leads"})))
    facade = PersistenceAgent(service).readonly()
    await facade.query("leads")
    with pytest.raises(TableNotAllowedError):
        await facade.query("messages")
    assert adapter.verbs == ["query"]


async def test_closing_a_facade_leaves_a_shared_service_open(adapter: RecordingAdapter) -> None:
    """A façade made by `readonly()` closes nothing; one that owns its service closes it, as often as asked."""
    service = AsyncPersistenceService(adapter, owns_adapter=True)
    async with service.readonly() as facade:
        assert facade.readonly() is facade
    assert adapter.closed == 0
    async with ReadOnlyPersistenceFacade(service, owns_service=True) as facade:
        await facade.aclose()
    assert adapter.closed == 2


def test_the_repr_shows_nothing(facade: ReadOnlyPersistenceFacade) -> None:
    """No key, no adapter, no service."""
    assert "Service" not in repr(facade)
    assert "Adapter" not in repr(facade)

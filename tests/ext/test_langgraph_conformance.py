"""LangGraph's own conformance suite for checkpointers, over each back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES, DetectedCapabilities
from langgraph.checkpoint.memory import InMemorySaver

from agent_persistence.ext.langgraph import Checkpointer
from tests.ext.backends import BackEnd

TESTS = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


def test_every_test_of_every_capability_passes(back_end: BackEnd) -> None:
    """The suite's level says nothing of what it did not detect: the numbers of tests are compared."""

    @checkpointer_test(name=back_end.name)
    async def checkpointer() -> AsyncGenerator[Checkpointer, None]:
        async with back_end.agent(Checkpointer.tables()) as agent:
            yield Checkpointer(agent)

    report = asyncio.run(validate(checkpointer))
    assert not [failure for result in report.results.values() for failure in result.failures]
    assert {name: result.tests_passed for name, result in report.results.items()} == TESTS
    assert report.passed_all_base()


def test_every_capability_is_detected(back_end: BackEnd) -> None:
    """And one that a saver lacks is not: LangGraph's own memory has no pruning."""
    detect = DetectedCapabilities.from_instance

    async def detected() -> DetectedCapabilities:
        async with back_end.agent(Checkpointer.tables()) as agent:
            return detect(Checkpointer(agent))

    assert asyncio.run(detected()).detected == ALL_CAPABILITIES
    assert detect(InMemorySaver()).detected != ALL_CAPABILITIES

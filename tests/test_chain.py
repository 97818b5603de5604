"""The chain: layers around an endpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_persistence import Next, Operation, Result
from agent_persistence.context import CallContext
from agent_persistence.operations import GetColumns
from agent_persistence.pipeline.chain import Layer, Rest, as_layer, compose
from agent_persistence.policy.identity import Identity

pytestmark = pytest.mark.anyio
ASKED = GetColumns("leads")
CONTEXT = CallContext(Identity(actor="ada"), deadline=7.0)


async def _endpoint(operation: Operation, context: CallContext) -> Result:
    assert context is CONTEXT
    return Result([operation.table])


def _layer(name: str, steps: list[str]) -> Layer:
    async def layer(operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        steps.append(f"{name} in")
        result = await call_next(operation, context)
        steps.append(f"{name} out")
        return result

    return layer


async def test_the_first_layer_is_the_outermost() -> None:
    """A call enters the layers in the order given and leaves them in the reverse."""
    steps: list[str] = []
    await compose([_layer("a", steps), _layer("b", steps)], _endpoint)(ASKED, CONTEXT)
    assert steps == ["a in", "b in", "b out", "a out"]


async def test_without_layers_the_chain_is_its_endpoint() -> None:
    """What is not configured costs nothing."""
    assert compose([], _endpoint) is _endpoint


async def test_a_layer_may_pass_on_a_changed_operation() -> None:
    """What is below sees the new operation; the old one is as it was."""

    async def rename(operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        return await call_next(replace(operation, table="messages"), context)

    assert (await compose([rename], _endpoint)(ASKED, CONTEXT)).value == ["messages"]
    assert ASKED.table == "leads"


async def test_a_layer_may_answer_by_itself() -> None:
    """Then nothing below it runs."""
    steps: list[str] = []

    async def cached(operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        return Result(["cached"])

    assert (await compose([cached, _layer("below", steps)], _endpoint)(ASKED, CONTEXT)).value == ["cached"]
    assert steps == []


async def test_what_a_layer_raises_passes_through_those_above() -> None:
    """An error is not changed by the chain itself."""
    problem = RuntimeError("mine")

    async def refuse(operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        raise problem

    with pytest.raises(RuntimeError) as caught:
        await compose([_layer("above", []), refuse], _endpoint)(ASKED, CONTEXT)
    assert caught.value is problem


async def test_one_chain_serves_many_calls() -> None:
    """The chain keeps no state between calls."""
    steps: list[str] = []
    chain = compose([_layer("a", steps)], _endpoint)
    assert (await chain(ASKED, CONTEXT), await chain(ASKED, CONTEXT)) == (Result(["leads"]), Result(["leads"]))
    assert steps == ["a in", "a out"] * 2


async def test_a_middleware_cannot_change_the_context() -> None:
    """Whatever operation it passes on, and however often, keeps the identity, deadline and retries of the call."""

    async def ask_for_others(operation: Operation, call_next: Next) -> Result:
        return Result([*(await call_next(GetColumns("clients"))).value, *(await call_next(operation)).value])

    chain = compose([as_layer(ask_for_others)], _endpoint)
    assert (await chain(ASKED, CONTEXT)).value == ["clients", "leads"]

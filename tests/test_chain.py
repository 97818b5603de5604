"""The chain: layers around an endpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_persistence import Middleware, Next, Operation, Result
from agent_persistence.chain import compose
from agent_persistence.operations import GetColumns

pytestmark = pytest.mark.anyio
ASKED = GetColumns("leads")


async def _endpoint(operation: Operation) -> Result:
    return Result([operation.table])


def _layer(name: str, steps: list[str]) -> Middleware:
    async def layer(operation: Operation, call_next: Next) -> Result:
        steps.append(f"{name} in")
        result = await call_next(operation)
        steps.append(f"{name} out")
        return result

    return layer


async def test_the_first_layer_is_the_outermost() -> None:
    """A call enters the layers in the order given and leaves them in the reverse."""
    steps: list[str] = []
    await compose([_layer("a", steps), _layer("b", steps)], _endpoint)(ASKED)
    assert steps == ["a in", "b in", "b out", "a out"]


async def test_without_layers_the_chain_is_its_endpoint() -> None:
    """What is not configured costs nothing."""
    assert compose([], _endpoint) is _endpoint


async def test_a_layer_may_pass_on_a_changed_operation() -> None:
    """What is below sees the new operation; the old one is as it was."""

    async def rename(operation: Operation, call_next: Next) -> Result:
        return await call_next(replace(operation, table="messages"))

    assert (await compose([rename], _endpoint)(ASKED)).value == ["messages"]
    assert ASKED.table == "leads"


async def test_a_layer_may_answer_by_itself() -> None:
    """Then nothing below it runs."""
    steps: list[str] = []

    async def cached(operation: Operation, call_next: Next) -> Result:
        return Result(["cached"])

    assert (await compose([cached, _layer("below", steps)], _endpoint)(ASKED)).value == ["cached"]
    assert steps == []


async def test_what_a_layer_raises_passes_through_those_above() -> None:
    """An error is not changed by the chain itself."""
    problem = RuntimeError("mine")

    async def refuse(operation: Operation, call_next: Next) -> Result:
        raise problem

    with pytest.raises(RuntimeError) as caught:
        await compose([_layer("above", []), refuse], _endpoint)(ASKED)
    assert caught.value is problem


async def test_one_chain_serves_many_calls() -> None:
    """The chain keeps no state between calls."""
    steps: list[str] = []
    chain = compose([_layer("a", steps)], _endpoint)
    assert (await chain(ASKED), await chain(ASKED)) == (Result(["leads"]), Result(["leads"]))
    assert steps == ["a in", "a out"] * 2

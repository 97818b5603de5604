"""Options of a service, alone and two at a time, change nothing in what a script of calls gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import anyio
import pytest

from agent_persistence import AsyncPersistenceService
from agent_persistence.context import CallContext
from agent_persistence.operations import Operation, Result
from agent_persistence.pipeline.caching.layer import Caching
from agent_persistence.pipeline.chain import Rest, compose
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.pipeline.tenancy import Tenancy
from agent_persistence.policy.identity import OWN
from tests.pairs.options import (
    ADAPTERS,
    AXES,
    MEANINGLESS,
    UNIQUE,
    Options,
    Stage,
    Transcript,
    opened,
    sets,
    transcripts,
)
from tests.pairs.script import FUNCTION
from tests.server import LocalServer
from tests.units.conftest import install

INDEXES = [f"leads_{'_'.join(columns)}" for columns in UNIQUE]
CREATE = "; ".join(
    [
        f"create or replace function {FUNCTION}(word text) returns text stable language sql as 'select word || word'",
        *(f"create unique index {name} on leads ({', '.join(of)})" for name, of in zip(INDEXES, UNIQUE, strict=True)),
    ]
)
DROP = f"drop function {FUNCTION}; drop index {', '.join(INDEXES)}"


def run(stage: Stage, options: Options, **changed: Any) -> list[Transcript]:
    """What each caller of the script was given, from empty tables on."""

    async def main() -> list[Transcript]:
        async with opened(stage, options, **changed) as callers:
            return await transcripts(callers)

    if stage.server is not None:
        stage.server.reset()
    return anyio.run(main)


@pytest.fixture(scope="module")
def expected() -> Transcript:
    """What the script gives in memory, with no option at all."""
    (transcript,) = run(Stage("memory"), frozenset())
    return transcript


@pytest.fixture(scope="module")
def prepared(local_server: LocalServer) -> Iterator[LocalServer]:
    """The real server, with the function that the script calls and the indexes by which it merges."""
    local_server.execute(CREATE)
    install(local_server)
    yield local_server
    local_server.execute(DROP)
    local_server.reload_schema()


@pytest.fixture
def stage(adapter: str, request: pytest.FixtureRequest) -> Stage:
    return Stage(adapter, None if adapter == "memory" else request.getfixturevalue("prepared"))


LEVELS = [(axis, level) for axis, levels in AXES.items() for level in levels]
CASES = [(adapter, options) for adapter in ADAPTERS for options in sets(adapter)]


@pytest.mark.parametrize(
    ("adapter", "options"), CASES, ids=[f"{adapter}-{' and '.join(sorted(options))}" for adapter, options in CASES]
)
def test_no_two_options_change_what_a_script_gives(stage: Stage, options: Options, expected: Transcript) -> None:
    """Over every adapter each caller is given what one without options is given in memory."""
    for transcript in run(stage, options):
        assert transcript == expected


def test_the_script_itself_gives_what_is_written_here(expected: Transcript) -> None:
    """The rows to which all others are compared are those that the calls ask for."""
    assert [row["email"].partition("@")[0] for row in expected["query at the end"]] == (
        ["ada", "bob", "dan", "eve", "gil", "hal", "ida", "jim", "kit", "lou"]
    )
    assert [row["score"] for row in expected["query, ordered page"]] == [None, None, 0.9]
    assert (expected["count"], expected["call"], expected["bulk_import"]) == ([11.0, 3.0], "soso", 5.0)
    assert [row.get("score") for row in expected["page"]] == [None, None, 4.0]
    assert [row.get("campaigns") is None for row in expected["query with its parents"]] == [False, True, True, True]
    assert expected["refused"] == [
        "ConflictError", "AdapterError", "TableNotAllowedError", "TableNotAllowedError",
    ]  # fmt: skip


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_two_options_meet_over_every_adapter(adapter: str) -> None:
    """What is left out is two values of one option, and what a rule names with its reason."""
    met = {frozenset(pair) for options in sets(adapter) for pair in combinations(options, 2)}
    for (axis, level), (other, second) in combinations(LEVELS, 2):
        is_left_out = axis == other or {(adapter, level), (adapter, second)} & MEANINGLESS.keys()
        assert (frozenset({level, second}) in met) != bool(is_left_out)


def test_a_cache_that_forgets_the_tenant_is_found(expected: Transcript) -> None:
    """The control: where one pair is broken, what differs is this pair and no other."""
    differing = {
        options
        for options in sets("memory")
        if options & {"cache", "tenant"}
        if any(each != expected for each in run(Stage("memory"), options, change=_forget_tenants))
    }
    assert differing == {frozenset({"cache", "tenant"})}


def _forget_tenants(service: AsyncPersistenceService) -> None:
    """The cache is asked before the tenant is known."""
    caching = service.cache
    if caching is None:
        return
    layers = [layer for layer in service.layers if layer is not caching]
    layers.insert(next(at for at, layer in enumerate(layers) if isinstance(layer, Tenancy)), partial(_own, caching))
    service._chain = compose(layers, dispatch_to(service._adapter, service._clock))


async def _own(caching: Caching, operation: Operation, context: CallContext, call_next: Rest) -> Result:
    return await caching(operation, replace(context, identity=OWN), lambda operation, _: call_next(operation, context))

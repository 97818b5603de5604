"""The same cases before the real server, with SQL as the judge."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.cases import Case, cuts, sample
from tests.faults.faults import Answered, Refused
from tests.faults.judge import Scores
from tests.faults.lane import Lane
from tests.faults.loop import run
from tests.faults.sql import SqlStore, doubling, relay
from tests.faults.verbs import VERBS
from tests.server import LocalServer

CUTS_A_VERB = 10
SEED = 20260302


async def _scored(server: LocalServer, name: str) -> Scores:
    scores = Scores()
    async with Lane.open(relay(server.url), SqlStore(server), key=server.service_key) as lane:
        request, response = await lane.sizes(VERBS[name])
        cases = [Case(name, fault) for fault in cuts(request, response)]
        for case in sample(cases, CUTS_A_VERB, Random(SEED)):
            await lane.run(case, scores)
        for fault in (Refused(), Answered("502 with HTML", "after"), Answered("503 with PGRST000", "before")):
            await lane.run(Case(name, fault), scores)
        await lane.store.reset("conversations", [])
    return scores


@pytest.mark.parametrize("verb", VERBS)
def test_a_fault_neither_loses_nor_doubles_a_row_of_postgresql(verb: str, server: LocalServer) -> None:
    """As before the counting backend: acknowledged is there once, refused is not there; and the next call works."""
    with doubling(server):
        scores = run(_scored(server, verb))
    assert [str(finding)[:600] for finding in scores.findings] == []
    assert scores.total["acknowledged" if VERBS[verb].succeeds else "refused"] >= 3

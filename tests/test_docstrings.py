"""What is said of a verb is said once: which errors it raises, for callers with and without await."""

from __future__ import annotations

import inspect
import re

import pytest

from agent_persistence import exceptions, sync
from agent_persistence.client.verbs import AllVerbs, ReadingVerbs, WritingVerbs
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.service import AsyncPersistenceService

VERBS = sorted(
    name
    for verbs in (ReadingVerbs, WritingVerbs)
    for name, value in vars(verbs).items()
    if not name.startswith("_") and (inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value))
)


def test_the_verbs_are_all_of_them() -> None:
    """Control: the list that the other tests go through is not empty, and has those of either kind."""
    assert {"write", "upsert_many", "query", "iterate", "count", "get_columns", "call"} <= {*VERBS}
    assert len(VERBS) >= 14


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_which_errors_it_raises(verb: str) -> None:
    """By their names, or by that of the verb that says it."""
    told = inspect.getdoc(getattr(AllVerbs, verb)) or ""
    referred = re.findall(r"(?:Raises|and) what `(\w+)` does", told)
    named = {*re.findall(r"\b\w+Error\b", told)}
    assert named or referred
    assert all(issubclass(getattr(exceptions, name), exceptions.PersistenceError) for name in named)
    assert all(other in VERBS and other != verb for other in referred)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "of", [AsyncPersistenceService, PersistenceAgent, sync.PersistenceService, sync.PersistenceAgent]
)
def test_every_class_says_the_same(verb: str, of: type) -> None:
    """Also the blocking ones, which copy it."""
    assert inspect.getdoc(getattr(of, verb)) == inspect.getdoc(getattr(AllVerbs, verb))

"""The cases: every verb over every stack under every single fault, and random pairs of faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from tests.faults.answers import ANSWERS
from tests.faults.faults import (
    Answered,
    AnsweredForAnother,
    AnsweredTwice,
    Cut,
    Delayed,
    Dribbled,
    Dropped,
    Fault,
    HalfClosed,
    HeldUncommitted,
    IdleClosed,
    LookUpFails,
    Mangled,
    Refused,
    Swallowed,
    Unresolved,
)
from tests.faults.manglers import MANGLERS
from tests.faults.proxy import Ending
from tests.faults.stacks import COALESCING, HTTPX, STACKS, Stack
from tests.faults.verbs import CROWDS, EVERY, VERBS, Verb

Sizes: TypeAlias = Mapping[tuple[Stack, str], tuple[int, int]]
"""By stack and verb, the bytes of the request and of the response."""

ENDINGS: Final[tuple[Ending, ...]] = ("FIN", "RST", "garbage", "blackhole")
READ_AS_ROWS: Final = {"201 with no row", "201 with two rows", "201 with a number", "201 with an object"}


ANSWERED_AGAIN: Final = AnsweredTwice(0.01)


@dataclass(frozen=True, slots=True)
class Case:
    """A verb, by its name in EVERY, and what befalls its first attempt and its second."""

    verb: str
    first: Fault
    second: Fault | None = None
    stack: Stack = HTTPX

    def __str__(self) -> str:
        return f"{self.stack}, {self.verb}: {self.first}" + (f"; {self.second}" if self.second else "")

    @property
    def faults(self) -> tuple[Fault, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


def cuts(request_bytes: int, response_bytes: int) -> Iterator[Fault]:
    """A cut at every byte, from behind the first of the request, by every ending."""
    for by in ENDINGS:
        yield from (Cut("request", offset, by) for offset in range(1, request_bytes + 1))
        yield from (Cut("response", offset, by) for offset in range(response_bytes))


def cuts_in_turn(request_bytes: int, response_bytes: int) -> Iterator[Fault]:
    """A cut at every byte, by one ending after the other."""
    for number, cut in enumerate(cuts(request_bytes, response_bytes)):
        ending, place = divmod(number, request_bytes + response_bytes)
        if place % len(ENDINGS) == ending:
            yield cut


def others(verb: Verb, attempt_s: float) -> Iterator[Fault]:
    """Every fault that is no cut. Delays and dribbles are below and above what an attempt may take."""
    for name in ANSWERS:
        if not _must_be_believed(name, verb):
            yield Answered(name, "before")
            yield Answered(name, "after")
    yield from map(Mangled, MANGLERS)
    yield from (Dribbled(0.0), Dribbled(attempt_s / 50))
    yield from (Delayed(part, attempt_s * times) for part in ("request", "response") for times in (0.1, 1.2))
    yield HalfClosed()
    yield from (Refused(), Unresolved(), Swallowed())
    yield from (IdleClosed("FIN"), IdleClosed("RST"))
    if verb.kind in ("insert", "merge"):
        yield from (HeldUncommitted("commits"), HeldUncommitted("rolls back"))
        if verb.succeeds and not verb.insert_only:
            yield Dropped()
    if verb.names_rows:
        yield ANSWERED_AGAIN
        if verb.succeeds and not verb.insert_only:
            yield from (AnsweredForAnother("before"), AnsweredForAnother("after"))
    if verb.kind != "read" and verb.succeeds and not verb.insert_only:
        yield from (LookUpFails("once"), LookUpFails("always"))


def _must_be_believed(name: str, verb: Verb) -> bool:
    """Whether the answer is a lie that nothing can give away: rows, or success where the server had refused."""
    if not verb.succeeds:
        return ANSWERS[name].says == "applied"
    return verb.kind in ("change", "read") and name in READ_AS_ROWS


def singles(
    sizes: Sizes,
    attempt_s: float,
    *,
    verbs: Sequence[str] = tuple(EVERY),
    stacks: Sequence[Stack] = STACKS,
) -> Iterator[Case]:
    """Every verb over every stack that is for it under every fault. Calls at once are cut at every byte in one way."""
    for stack, name in _pairings(verbs, stacks):
        cut = cuts_in_turn if name in CROWDS else cuts
        for fault in (*others(EVERY[name], attempt_s), *cut(*sizes[stack, name])):
            yield Case(name, fault, stack=stack)


def _pairings(verbs: Sequence[str], stacks: Sequence[Stack]) -> Iterator[tuple[Stack, str]]:
    """Each stack with the verbs whose every fault is tried over it: only calls at once can share a request."""
    for stack in stacks:
        yield from ((stack, name) for name in verbs if stack.coalesce == (name in CROWDS))


def pairs(sizes: Sizes, attempt_s: float, count: int, random: Random) -> Iterator[Case]:
    """So many random cases whose second attempt meets a fault too, half of the faults no cuts; verbs and stacks in
    turn, single calls over every stack.

    Of calls at once a second attempt is one of several that may be under way, so that nothing can precede it.
    """
    ways = [*((stack, name) for stack in STACKS for name in VERBS), *_pairings(tuple(CROWDS), COALESCING)]
    rare = {name: list(others(verb, attempt_s)) for name, verb in EVERY.items()}
    often = {way: list(cuts(*sizes[way])) for way in ways}
    random.shuffle(ways)
    for number in range(count):
        stack, name = ways[number % len(ways)]
        kinds = (rare[name], often[stack, name])
        first, second = (random.choice(random.choice(kinds)) for _ in range(2))
        while name in CROWDS and second.precedes:
            second = random.choice(rare[name])
        yield Case(name, first, second, stack)


def sample(cases: Sequence[Case], count: int, random: Random) -> list[Case]:
    """So many of the cases: as many of them as possible are no cuts, of which there are most."""
    rare = [case for case in cases if not isinstance(case.first, Cut)]
    often = [case for case in cases if isinstance(case.first, Cut)]
    chosen = random.sample(rare, min(len(rare), count))
    return chosen + random.sample(often, min(len(often), count - len(chosen)))

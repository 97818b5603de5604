"""The cases: every verb under every single fault, and random pairs of faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from tests.faults.answers import ANSWERS
from tests.faults.faults import (
    Answered,
    Cut,
    Delayed,
    Dribbled,
    Fault,
    HalfClosed,
    HeldUncommitted,
    IdleClosed,
    Mangled,
    Refused,
)
from tests.faults.manglers import MANGLERS
from tests.faults.proxy import Ending
from tests.faults.verbs import VERBS, Verb

Sizes: TypeAlias = Mapping[str, tuple[int, int]]
"""By verb, the bytes of its request and of the response."""

ENDINGS: Final[tuple[Ending, ...]] = ("FIN", "RST", "garbage", "blackhole")
READ_AS_ROWS: Final = {"201 with no row", "201 with two rows", "201 with a number", "201 with an object"}


@dataclass(frozen=True, slots=True)
class Case:
    """A verb, by its name in VERBS, and what befalls its first attempt and its second."""

    verb: str
    first: Fault
    second: Fault | None = None

    def __str__(self) -> str:
        return f"{self.verb}: {self.first}" + (f"; {self.second}" if self.second else "")

    @property
    def faults(self) -> tuple[Fault, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


def cuts(request_bytes: int, response_bytes: int) -> Iterator[Fault]:
    """A cut at every byte, from behind the first of the request, by every ending."""
    for by in ENDINGS:
        yield from (Cut("request", offset, by) for offset in range(1, request_bytes + 1))
        yield from (Cut("response", offset, by) for offset in range(response_bytes))


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
    yield Refused()
    yield from (IdleClosed("FIN"), IdleClosed("RST"))
    if verb.kind in ("insert", "merge"):
        yield from (HeldUncommitted("commits"), HeldUncommitted("rolls back"))


def _must_be_believed(name: str, verb: Verb) -> bool:
    """Whether the answer is a lie that nothing can give away: rows, or success where the server had refused."""
    if not verb.succeeds:
        return ANSWERS[name].says == "applied"
    return verb.kind in ("change", "read") and name in READ_AS_ROWS


def singles(sizes: Sizes, attempt_s: float, *, verbs: Sequence[str] = tuple(VERBS)) -> Iterator[Case]:
    """Every verb under every fault."""
    for name in verbs:
        for fault in (*others(VERBS[name], attempt_s), *cuts(*sizes[name])):
            yield Case(name, fault)


def pairs(sizes: Sizes, attempt_s: float, count: int, random: Random) -> Iterator[Case]:
    """So many random cases whose second attempt meets a fault too, the verbs in turn, half of the faults no cuts."""
    rare = {name: list(others(verb, attempt_s)) for name, verb in VERBS.items()}
    often = {name: list(cuts(*sizes[name])) for name in VERBS}
    names = list(VERBS)
    for number in range(count):
        name = names[number % len(names)]
        first, second = (random.choice(random.choice((rare, often))[name]) for _ in range(2))
        yield Case(name, first, second)


def sample(cases: Sequence[Case], count: int, random: Random) -> list[Case]:
    """So many of the cases: as many of them as possible are no cuts, of which there are most."""
    rare = [case for case in cases if not isinstance(case.first, Cut)]
    often = [case for case in cases if isinstance(case.first, Cut)]
    chosen = random.sample(rare, min(len(rare), count))
    return chosen + random.sample(often, min(len(often), count - len(chosen)))

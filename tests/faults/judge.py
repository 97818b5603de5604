"""What a case comes to: the invariants, and the scoreboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from agent_persistence import AdapterError, OutcomeUnknownError, PersistenceError
from agent_persistence.exceptions import FailureState
from agent_persistence.query.records import Row
from tests.faults.backend import COLUMNS
from tests.faults.cases import Case
from tests.faults.stacks import STACKS, Stack
from tests.faults.verbs import EVERY, TORN, Verb

End: TypeAlias = Literal["acknowledged", "unknown", "refused"]
Breach: TypeAlias = Literal["lost", "duplicated", "wrong", "overrun", "leaked"]

SCORES: Final = ("cases", "acknowledged", "unknown", "refused", "lost", "duplicated", "wrong", "overrun", "leaked")
BREACHES: Final = SCORES[4:]
SLACK_S: Final = 0.25
_NOT_APPLIED: Final = (FailureState.NOT_SENT, FailureState.REJECTED, FailureState.RETRYABLE)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: with a value, or with an error; and the rows that were there when nothing was under way.

    `elapsed_s` is by the event loop's clock.
    """

    rows: list[Row]
    elapsed_s: float
    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that did not hold."""

    case: Case
    breach: Breach
    told: str

    def __str__(self) -> str:
        return f"{self.breach}: {self.case}: {self.told}"


def told_columns(table: str, value: Any) -> Any:
    """The value with its rows reduced to the columns that the judge knows; a real table has more."""
    if isinstance(value, list):
        return [told_columns(table, row) for row in value]
    return {name: value[name] for name in COLUMNS[table] if name in value} if isinstance(value, dict) else value


def _each(verb: Verb, ended: Ended) -> Iterator[tuple[Verb, Ended]]:
    """How each of the calls ended, where several were made at once."""
    if not verb.each or ended.error is not None:
        yield verb, ended
        return
    for one, value in zip(verb.each, ended.value, strict=True):
        raised = isinstance(value, BaseException)
        yield one, replace(ended, value=None if raised else value, error=value if raised else None)


def end_of(case: Case, ended: Ended) -> End:
    """How the call ended, or the worst of several."""
    errors = [one.error for _, one in _each(EVERY[case.verb], ended) if one.error is not None]
    if any(isinstance(error, OutcomeUnknownError) for error in errors):
        return "unknown"
    return "refused" if errors else "acknowledged"


def judged(case: Case, ended: Ended, deadline_s: float | None = None) -> Iterator[Finding]:
    """The invariants that the call broke. The time it took counts only where a deadline is given."""
    for verb, one in _each(EVERY[case.verb], ended):
        yield from _judged(case, verb, one)
    if deadline_s is not None and ended.elapsed_s > deadline_s + SLACK_S:
        yield Finding(case, "overrun", f"{ended.error!r} after {ended.elapsed_s:.3f} s")


def _judged(case: Case, verb: Verb, ended: Ended) -> Iterator[Finding]:
    effect = verb.effect(ended.rows)
    error = ended.error
    right = error is None and verb.right(told_columns(verb.table, ended.value), ended.rows)
    told = f"{error!r} after {ended.elapsed_s:.3f} s, rows {ended.rows}"
    if effect > 1 or effect == TORN:
        yield Finding(case, "duplicated" if effect > 1 else "wrong", f"the effect is there {effect} times; {told}")
    if error is None:
        if verb.kind != "read" and effect == 0 and not any(fault.claims for fault in case.faults):
            yield Finding(case, "lost", f"acknowledged with {ended.value!r}; {told}")
        elif not right and (verb.kind == "read" or effect == 1):
            yield Finding(case, "wrong", f"returned {ended.value!r}; {told}")
    elif not isinstance(error, PersistenceError):
        yield Finding(case, "wrong", f"no error of ours: {told}")
    elif isinstance(error, AdapterError):
        denied = error.state in _NOT_APPLIED and effect == 1 and not any(fault.denies for fault in case.faults)
        affirmed = error.state is FailureState.APPLIED and effect == 0 and not any(f.claims for f in case.faults)
        if denied or affirmed:
            yield Finding(case, "wrong", f"it says {error.state}: {told}")


Way: TypeAlias = tuple[Stack, str]


@dataclass
class Scores:
    """Counts by stack, verb and column, and the findings behind them; scores can be added."""

    ways: dict[Way, Counter[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, case: Case, end: End, findings: Iterable[Finding]) -> None:
        self._way(case).update(("cases", end))
        for finding in findings:
            self.find(finding)

    def find(self, finding: Finding) -> None:
        self._way(finding.case)[finding.breach] += 1
        self.findings.append(finding)

    def merge(self, other: Scores) -> None:
        for way, counts in other.ways.items():
            self.ways.setdefault(way, Counter()).update(counts)
        self.findings += other.findings

    def _way(self, case: Case) -> Counter[str]:
        return self.ways.setdefault((case.stack, case.verb), Counter())

    @property
    def verbs(self) -> dict[str, Counter[str]]:
        """The counts by verb, in the order of EVERY."""
        found = _grouped((verb, row) for (_, verb), row in self.ways.items())
        return {name: found[name] for name in EVERY if name in found}

    @property
    def stacks(self) -> dict[str, Counter[str]]:
        """The counts by stack, in the order of STACKS."""
        found = _grouped((str(stack), row) for (stack, _), row in self.ways.items())
        return {name: found[name] for name in map(str, STACKS) if name in found}

    @property
    def total(self) -> Counter[str]:
        return sum(self.ways.values(), Counter())


def _grouped(rows: Iterable[tuple[str, Counter[str]]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for name, row in rows:
        found.setdefault(name, Counter()).update(row)
    return found


def scoreboard(rows: Mapping[str, Counter[str]]) -> str:
    """A line for each row, below the names of the columns."""
    width = max(map(len, rows))
    lines = [f"{'':<{width}} " + " ".join(f"{column:>12}" for column in SCORES)]
    lines += [f"{name:<{width}} " + " ".join(f"{row[column]:>12,}" for column in SCORES) for name, row in rows.items()]
    return "\n".join(lines)

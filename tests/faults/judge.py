"""What a case comes to: the invariants, and the scoreboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from agent_persistence import AdapterError, OutcomeUnknownError, PersistenceError
from agent_persistence.exceptions import FailureState
from agent_persistence.records import Row
from tests.faults.backend import COLUMNS
from tests.faults.cases import Case
from tests.faults.verbs import TORN, VERBS

End: TypeAlias = Literal["acknowledged", "unknown", "refused"]
Breach: TypeAlias = Literal["lost", "duplicated", "wrong", "overrun", "leaked"]

SCORES: Final = ("cases", "acknowledged", "unknown", "refused", "lost", "duplicated", "wrong", "overrun", "leaked")
BREACHES: Final = SCORES[4:]
SLACK_S: Final = 0.25
_NOT_APPLIED: Final = (FailureState.NOT_SENT, FailureState.REJECTED, FailureState.RETRYABLE)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: with a value, or with an error; and the rows that were there when nothing was under way.

    `elapsed_s` is without the time in which the event loop stood still.
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


def end_of(ended: Ended) -> End:
    if ended.error is None:
        return "acknowledged"
    return "unknown" if isinstance(ended.error, OutcomeUnknownError) else "refused"


def judged(case: Case, ended: Ended, deadline_s: float | None = None) -> Iterable[Finding]:
    """The invariants that the call broke. The time it took counts only where a deadline is given."""
    verb = VERBS[case.verb]
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
    if deadline_s is not None and ended.elapsed_s > deadline_s + SLACK_S:
        yield Finding(case, "overrun", told)


@dataclass
class Scores:
    """Counts by verb and column, and the findings behind them; scores can be added."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, case: Case, end: End, findings: Iterable[Finding]) -> None:
        self._verb(case.verb).update(("cases", end))
        for finding in findings:
            self.find(finding)

    def find(self, finding: Finding) -> None:
        self._verb(finding.case.verb)[finding.breach] += 1
        self.findings.append(finding)

    def merge(self, other: Scores) -> None:
        for verb, counts in other.counts.items():
            self._verb(verb).update(counts)
        self.findings += other.findings

    def _verb(self, verb: str) -> Counter[str]:
        return self.counts.setdefault(verb, Counter())

    @property
    def total(self) -> Counter[str]:
        return sum(self.counts.values(), Counter())

    def table(self, title: str) -> str:
        """The scoreboard: a line a verb, and the total."""
        width = max(map(len, (*VERBS, title)))
        verbs = {name: self.counts[name] for name in VERBS if name in self.counts}
        rows: Mapping[str, Counter[str]] = {**verbs, title: self.total}
        lines = [f"{'':<{width}} " + " ".join(f"{column:>12}" for column in SCORES)]
        lines += [
            f"{name:<{width}} " + " ".join(f"{row[column]:>12,}" for column in SCORES) for name, row in rows.items()
        ]
        return "\n".join(lines)

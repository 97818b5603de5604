"""From what was read to the rows of a context: all of it, or what answers the question. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent_persistence.exceptions import AdapterError
from agent_persistence.query.records import Row
from agent_persistence.rag.candidates import without
from agent_persistence.rag.found import Found
from agent_persistence.rag.plan import ReadPlan
from agent_persistence.rag.ranking.matching import Match
from agent_persistence.rag.ranking.relevance import Relevance
from agent_persistence.rag.scoring import RecordId, record_id
from agent_persistence.rag.searching import RowMatches, Sizes, kept
from agent_persistence.rag.times import newest_first
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of a context by table; which of them only a budget may show; how well they match the question.

    `beyond` counts the rows that were read and are not among them. Of tables that are `full` nobody knows whether they
    hold more; `failures` are the tables that could not be read, and the retriever.
    """

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    reserved: Collection[RecordId] = frozenset()
    matches: Mapping[RecordId, Match] = field(default_factory=dict)
    named: Mapping[RecordId, float] = field(default_factory=dict)
    beyond: Mapping[str, int] = field(default_factory=dict)
    full: Collection[str] = frozenset()
    failures: Mapping[str, Exception] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def relevance(self) -> dict[RecordId, float]:
        """From 0 to 1: of the best match 1. Where no word was looked for, what the retriever says stays as it is."""
        best = max((match.score for match in self.matches.values()), default=0.0)
        if not best:
            return dict(self.named)
        return {record: match.score / best for record, match in self.matches.items()}


def answered(
    found: Found,
    shape: ContextShape,
    plan: ReadPlan,
    *,
    answers: RowMatches | None,
    limited: Collection[str],
) -> Answered:
    """What was found, and with `answers` to a question those of them that are the best.

    `plan` has the limits, of which the caller set those of the tables in `limited`.
    """
    read = all_rows(found, shape)
    named = retrieved(found.relevance)
    if answers is None:
        return Answered(read, named=named, beyond=found.beyond_limit, full=found.full, failures=found.failures)
    limits = {step.table: step.limit for step in plan.steps}
    wanted = Sizes(
        limits,
        {table: limit if table in limited else max(limit, kept(shape, table)) for table, limit in limits.items()},
        filled=[
            table
            for table, entity in shape.tables.items()
            if table in plan.chosen or entity.body is not None or not plan.follows_relations
        ],
        named=named.keys(),
        follows_relations=plan.follows_relations,
    )
    best = answers.best(wanted)
    rows = {table: [*best.rows[table], *best.reserve[table]] for table in shape.tables}
    return Answered(
        rows,
        frozenset(
            record_id(table, entity.key_of(row))
            for table, entity in shape.tables.items()
            for row in best.reserve[table]
        ),
        best.matches,
        named,
        {table: found.beyond_limit.get(table, 0) + len(read[table]) - len(rows[table]) for table in shape.tables},
        found.full,
        found.failures,
        tuple(_cut(found, shape)),
    )


def all_rows(found: Found, shape: ContextShape) -> dict[str, list[Row]]:
    """What was read, by table, each row once, newest first."""
    return {table: _all_of(found, entity) for table, entity in shape.tables.items()}


def retrieved(scores: Sequence[Relevance] | None) -> dict[RecordId, float]:
    """The retriever's scores by record; of one that is named twice the better."""
    found: dict[RecordId, float] = {}
    for one in scores or ():
        record = record_id(one.table, one.key)
        found[record] = max(one.score, found.get(record, 0.0))
    return found


def _all_of(found: Found, entity: ContextTable) -> list[Row]:
    """The rows of a table, each once, newest first."""
    rows = found.rows.get(entity.table, [])
    further: list[Row] = []
    for others in (found.worded, found.named, found.around):
        further += without(entity, others.get(entity.table, ()), [*rows, *further]) if others.get(entity.table) else []
    return newest_first(entity, [*rows, *further]) if further else rows


def unrelated(found: Found) -> list[str]:
    """What is to be said of records that a retriever named and that are not in the context."""
    count = found.unrelated
    return [f"retriever: {count} of the records it named do not belong here, and were left out"] if count else []


def _cut(found: Found, shape: ContextShape) -> Iterator[str]:
    for table, error in found.unsought.items():
        yield f"{table}: rows with words of the question could not be asked for ({error})"
    for table in shape.order:
        if found.beyond_limit.get(table) or table in found.full:
            with_words = len(found.worded.get(table, ()))
            may = "" if found.beyond_limit.get(table) else "may "
            yield (
                f"{table}: more rows {may}belong than were searched for the question, which are the newest"
                f" {len(found.rows[table]):,}{f' and {with_words:,} with its words' if with_words else ''};"
                " narrower filters leave none out"
            )


def all_warnings(planned: ReadPlan, answer: Answered, found: Found) -> list[str]:
    failed = (f"{name}: could not be read ({_reason(why)})" for name, why in found.failures.items())
    return [*planned.warnings, *answer.warnings, *unrelated(found), *failed]


def _reason(failure: Exception) -> str:
    """What an error of ours says; of one of a caller's own code its kind, since its text may hold anything."""
    return str(failure) if isinstance(failure, AdapterError) else type(failure).__name__

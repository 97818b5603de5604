"""What a database is asked for where a table holds more rows than a search reads: those with a word of the question.

Words are looked for by their beginnings in the text search configuration `simple`, which stems nothing: an index over
`to_tsvector('simple', column)` serves it. Pairs of characters of scripts without blanks are looked for as they stand.
Each word is asked for by itself, so that a common one does not keep a rare one's rows out. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from agent_persistence.query.filters import Filters, any_of, ilike, text_search
from agent_persistence.query.predicates import Comparison
from agent_persistence.query.records import Row
from agent_persistence.rag.plan import ReadPlan
from agent_persistence.rag.ranking.matching import Corpus, WordMatches
from agent_persistence.rag.ranking.words import Word
from agent_persistence.rag.scope import Values, values
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable

ROWS_A_WORD: Final = 200
_MOST_WORDS: Final = 6
_MOST_TALKS: Final = 10
_MOST_COLUMNS: Final = 4

IsText: TypeAlias = Callable[[str, str], bool]
"""Whether a column of a table may be read and is declared to hold texts."""


def widened(
    plan: ReadPlan,
    shape: ContextShape,
    words: Sequence[Word],
    *,
    most: int,
    reads_all: bool,
    can: Mapping[str, bool],
    is_text: IsText,
) -> ReadPlan:
    """The plan with up to `most` rows of each table, and where these may not be all, those that hold the words.

    Where no filter chooses, every row belongs, so that no table waits for another one.
    """
    steps = [
        replace(
            step,
            limit=max(most, step.limit),
            links=step.links if step.table in plan.chosen else (),
            sought=() if reads_all else sought(shape.tables[step.table], words, can, is_text),
        )
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps), words=tuple(words))


def sought(
    entity: ContextTable, words: Sequence[Word], capabilities: Mapping[str, bool], is_text: IsText
) -> tuple[Filters, ...]:
    """A filter for each of the words that say most, over the body of the table; and one for all of them over its title
    and, where it has no body, its other texts."""
    can = [
        word
        for word in words
        if word.weight == 1.0 and capabilities.get("ilike" if word.is_pair else "text_search", False)
    ]
    best = sorted(can, key=lambda word: (not word.is_name, -len(word.text)))[:_MOST_WORDS]
    named = (
        *entity.title,
        *(() if entity.body is not None else (label for label, _ in entity.labels)),
        *(entity.columns or ()),
    )
    others = [column for column in dict.fromkeys(named) if column != entity.body and is_text(entity.table, column)]
    further = [{column: _holds(word)} for column in others[:_MOST_COLUMNS] for word in best]
    return (
        *({entity.body: _holds(word)} for word in best if entity.body is not None),
        *([any_of(*further)] if further and capabilities.get("logic", False) else []),
    )


def _holds(word: Word) -> Comparison:
    if word.is_pair:
        return ilike(f"%{word.spelled}%")
    return text_search(f"{word.spelled[: len(word.prefix)]}:*", kind="tsquery", config="simple")


def best_talks(entity: ContextTable, words: Sequence[Word], rows: Sequence[Row]) -> list[Values]:
    """What the turns of the talks hold that answer best, of those among these rows, the best first."""
    if entity.body is None or not entity.is_turn:
        return []
    columns = entity.parents[0].columns
    texts = [str(row.get(entity.body) or "") for row in rows]
    none = [-1] * len(rows)
    scores = WordMatches(words, Corpus(texts, none, none, [""] * len(rows))).scores
    order = sorted(range(len(rows)), key=lambda place: -scores[place])
    talks = dict.fromkeys(values(rows[place], columns) for place in order if scores[place])
    return [talk for talk in talks if talk][:_MOST_TALKS]


def without(entity: ContextTable, rows: Sequence[Row], known: Sequence[Row]) -> list[Row]:
    """The rows whose keys none of the known rows has, each once."""
    seen = {str(entity.key_of(row)) for row in known}
    return list({key: row for row in rows if (key := str(entity.key_of(row))) not in seen}.values())

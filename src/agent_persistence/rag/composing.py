"""Which records a prompt shows under a budget, and how much of their texts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent_persistence.rag.budget import TokenBudget
from agent_persistence.rag.clipping import joined
from agent_persistence.rag.outline import Record
from agent_persistence.rag.packing import Item, pack
from agent_persistence.rag.partition import Part, Portions, portions
from agent_persistence.rag.scoring import Score
from agent_persistence.rag.shown import Format, PromptContent, Shown
from agent_persistence.rag.tokens import TokenCounter

Notes = Callable[[Sequence[Shown]], Sequence[str]]
"""What is to be said below the records that are shown."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A page as text, and what it shows."""

    text: str
    shown: Sequence[Shown]


@dataclass(slots=True)
class _Choice:
    """The items to choose from, parents first, and by reference the portions of the records and their places."""

    items: list[Item] = field(default_factory=list)
    portions: dict[str, Portions] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    further: dict[str, dict[int, Part]] = field(default_factory=dict)


def compose_all(roots: Sequence[Record], form: Format, notes: Notes) -> Composed:
    """Everything there is."""
    shown = everything(roots)
    return Composed(form.document(PromptContent(shown, notes(shown))), shown)


def everything(roots: Sequence[Record]) -> list[Shown]:
    """All records with all they say."""
    return [Shown(record, record.texts(), everything(record.children)) for record in roots]


def compose_within(
    roots: Sequence[Record],
    scores: Sequence[Score],
    form: Format,
    notes: Notes,
    *,
    budget: TokenBudget,
    counter: TokenCounter,
    wanted: frozenset[str] = frozenset(),
) -> Composed:
    """The best records that fit, their texts cut before a record is left out; `wanted` words say which parts stay.

    Where not even a page without records fits, the text is empty.
    """
    choice = _choice(roots, scores, form, budget.part, counter, wanted)
    first = [choice.heads[score.ref] for score in scores if score.pinned]
    remaining = budget.available - counter.count(form.document(PromptContent([], notes([]))))
    while True:
        chosen = pack(choice.items, max(remaining, 0), first=first, floors=budget.floors, caps=budget.caps)
        shown = _chosen(roots, choice, chosen)
        text = form.document(PromptContent(shown, notes(shown)))
        excess = counter.count(text) - budget.available
        if excess <= 0:
            return Composed(text, shown)
        if not chosen:
            return Composed("", [])
        remaining = min(remaining, sum(choice.items[place].cost for place in chosen)) - excess


def _choice(
    roots: Sequence[Record],
    scores: Sequence[Score],
    form: Format,
    size: int,
    counter: TokenCounter,
    wanted: frozenset[str],
) -> _Choice:
    value = {score.ref: score.score**2 for score in scores}
    choice = _Choice()
    depths: dict[str, int] = {}
    for root in roots:
        for record in root.walk():
            above = record.parent
            depths[record.ref] = depth = 1 if above is None else 1 + depths[above.ref]
            made = choice.portions[record.ref] = portions(record, size, counter, wanted)
            cost = counter.count("\n".join(form.lines(_shown(record, made, made.head), depth))) + 1
            head = choice.heads[record.ref] = len(choice.items)
            parent = None if above is None else choice.heads[above.ref]
            choice.items.append(Item(value[record.ref], cost, record.table, parent))
            further = choice.further[record.ref] = {}
            for part in made.further:
                further[len(choice.items)] = part
                cost = counter.count("\n".join(form.text_lines(part.column, part.text, depth))) + 1
                worth = value[record.ref] * part.share
                choice.items.append(Item(worth, cost, record.table, head, continues=True))
    return choice


def _chosen(roots: Iterable[Record], choice: _Choice, chosen: frozenset[int]) -> list[Shown]:
    """The records whose first portion is chosen, each with its chosen portions."""
    shown = []
    for record in roots:
        if choice.heads[record.ref] in chosen:
            made, further = choice.portions[record.ref], choice.further[record.ref]
            parts = [*made.head, *(part for place, part in further.items() if place in chosen)]
            shown.append(_shown(record, made, parts, _chosen(record.children, choice, chosen)))
    return shown


def _shown(record: Record, made: Portions, parts: Iterable[Part], children: Sequence[Shown] = ()) -> Shown:
    places: dict[str, set[int]] = {}
    for part in parts:
        places.setdefault(part.column, set()).add(part.place)
    texts = {column: joined(made.pieces[column], places[column]) for column in made.pieces if column in places}
    cut = frozenset(column for column in places if len(places[column]) < len(made.pieces[column]))
    return Shown(record, texts, children, cut, is_abridged=len(texts) < len(made.pieces))

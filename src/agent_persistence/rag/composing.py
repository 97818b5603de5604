"""Which records a prompt shows under a budget, and how much of their texts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_persistence.rag.budget import TokenBudget
from agent_persistence.rag.clipping import joined
from agent_persistence.rag.outline import Record
from agent_persistence.rag.packing import Item, pack
from agent_persistence.rag.partition import Part, Portions, portions
from agent_persistence.rag.rendering.shown import Format, PromptContent, Shown
from agent_persistence.rag.scoring import Score
from agent_persistence.rag.tokens import TokenCounter

_REACH: Final = 3
_LEAST_TOKENS: Final = 6
_MOST_CHARACTERS_A_TOKEN: Final = 5

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


def compose_all(
    roots: Sequence[Record], form: Format, notes: Notes, *, hidden: Collection[str] = frozenset()
) -> Composed:
    """Everything there is but the records whose references are hidden."""
    shown = everything(roots, hidden)
    return Composed(form.document(PromptContent(shown, notes(shown))), shown)


def everything(roots: Sequence[Record], hidden: Collection[str] = frozenset()) -> list[Shown]:
    """All records with all they say, but those whose references are hidden."""
    return [
        Shown(record, record.texts(), everything(record.children, hidden))
        for record in roots
        if record.ref not in hidden
    ]


def compose_within(
    roots: Sequence[Record],
    scores: Sequence[Score],
    form: Format,
    notes: Notes,
    *,
    budget: TokenBudget,
    counter: TokenCounter,
    wanted: frozenset[str] = frozenset(),
    answers: bool = False,
) -> Composed:
    """The best records that fit, their texts cut before a record is left out; `wanted` words say which parts stay.

    With `answers`, to a question, a record is not preferred for being short, and a talk without turns is worth nothing.
    Where not even a page without records fits, the text is empty.
    """
    worth = _Worth(scores, answers)
    beyond = _out_of_reach(roots, scores, budget) if answers else frozenset[str]()
    choice = _choice(roots, worth, form, budget.part, counter, wanted, beyond)
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


def _out_of_reach(roots: Sequence[Record], scores: Sequence[Score], budget: TokenBudget) -> frozenset[str]:
    """The turns that a budget does not come to, since those before them have several times its tokens at the least.

    They need not be written to be counted, which is what most of the time goes into.
    """
    if budget.floors or budget.caps:
        return frozenset()
    bodies = {
        record.ref: record.row.get(record.entity.body)
        for root in roots
        for record in root.walk()
        if record.entity.body is not None
    }
    left = budget.available * _REACH
    beyond = set()
    for score in scores:
        if score.ref in bodies:
            if left < 0 and not score.pinned:
                beyond.add(score.ref)
            body = bodies[score.ref]
            left -= _LEAST_TOKENS + (len(body) // _MOST_CHARACTERS_A_TOKEN if isinstance(body, str) else 0)
    return frozenset(beyond)


class _Worth:
    """What it is worth to show a record: the square of its score, so that several that answer a little do not outweigh
    one that answers; and with `answers` that for each token, so that the best come first, not the shortest."""

    def __init__(self, scores: Sequence[Score], answers: bool) -> None:
        self._values = {score.ref: score.score**2 for score in scores}
        self._answers = answers

    def of(self, record: Record, cost: int) -> float:
        value = self._values[record.ref]
        if not self._answers:
            return value
        return 0.0 if _is_talk(record) else value * cost


def _is_talk(record: Record) -> bool:
    """Whether a record has turns and no title: it is there for them."""
    entity = record.entity
    stands_for_others = entity.in_time_order and entity.body is None and not entity.title
    return stands_for_others and any(child.entity.is_turn for child in record.children)


def _choice(
    roots: Sequence[Record],
    worth: _Worth,
    form: Format,
    size: int,
    counter: TokenCounter,
    wanted: frozenset[str],
    beyond: Collection[str],
) -> _Choice:
    choice = _Choice()
    depths: dict[str, int] = {}
    for root in roots:
        for record in root.walk():
            if record.ref in beyond:
                continue
            above = record.parent
            depths[record.ref] = depth = 1 if above is None else 1 + depths[above.ref]
            made = choice.portions[record.ref] = portions(record, size, counter, wanted)
            cost = counter.count("\n".join(form.lines(_shown(record, made, made.head), depth))) + 1
            head = choice.heads[record.ref] = len(choice.items)
            parent = None if above is None else choice.heads[above.ref]
            choice.items.append(Item(worth.of(record, cost), cost, record.table, parent))
            further = choice.further[record.ref] = {}
            for part in made.further:
                further[len(choice.items)] = part
                cost = counter.count("\n".join(form.text_lines(part.column, part.text, depth))) + 1
                value = worth.of(record, cost) * part.share
                choice.items.append(Item(value, cost, record.table, head, continues=True))
    return choice


def _chosen(roots: Iterable[Record], choice: _Choice, chosen: frozenset[int]) -> list[Shown]:
    """The records whose first portion is chosen, each with its chosen portions."""
    shown = []
    for record in roots:
        if choice.heads.get(record.ref) in chosen:
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

"""Which records go into a budget of tokens: by value for their cost, each with the ancestors it brings along. Pure.

Choosing nodes of a forest under a budget, a node only with its parent, is the precedence-constrained knapsack problem.
Greedy by density is good where every item is small against the budget; the best single bundle makes up for the rest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_NONE: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Item:
    """What may be shown: `cost` tokens, worth `value`, together with the item at `parent`, which stands before it.

    With `continues` it is more of its parent's text, and never a reason to show the parent.
    """

    value: float
    cost: int
    section: str
    parent: int | None = None
    continues: bool = False


def pack(
    items: Sequence[Item],
    budget: int,
    *,
    first: Sequence[int] = (),
    floors: Mapping[str, int] = _NONE,
    caps: Mapping[str, int] = _NONE,
) -> frozenset[int]:
    """The places of the items that are chosen; parents of chosen items are chosen, and costs stay within the budget.

    `first` are tried before all others, in their order. Then every section of `floors` takes the best of its own
    items, up to so many tokens of its own. The rest goes to the best of all. No section takes more than its cap. Equal
    densities go to the item that stands first.
    """
    if not caps and sum(item.cost for item in items) <= budget:
        return frozenset(range(len(items)))
    packing = _Packing(items, budget, caps)
    for place in first:
        packing.take(place)
    for section in sorted(floors):
        packing.fill(section, floors[section])
    led = packing.copy()
    lead, worth = led.best_bundle()
    before = packing.worth
    packing.fill()
    if lead is None or worth <= packing.worth - before:
        return frozenset(packing.chosen)
    led.take(lead)
    led.fill()
    return frozenset(led.chosen)


class _Packing:
    """The items chosen so far, what they are worth, and what is left of the budget."""

    def __init__(self, items: Sequence[Item], budget: int, caps: Mapping[str, int]) -> None:
        self.items = items
        self.left = budget
        self.caps = caps
        self.worth = 0.0
        self.chosen: set[int] = set()
        self._used: dict[str, int] = {}
        self._children: list[list[int]] = [[] for _ in items]
        self._values = [item.value for item in items]
        self._costs = [item.cost for item in items]
        for place, item in enumerate(items):
            if item.parent is not None:
                self._children[item.parent].append(place)
                self._values[place] += self._values[item.parent]
                self._costs[place] += self._costs[item.parent]

    def copy(self) -> _Packing:
        """The same choice, to go on from in another way."""
        other = _Packing.__new__(_Packing)
        other.__dict__.update(self.__dict__)
        other.chosen, other._used = set(self.chosen), dict(self._used)
        other._values, other._costs = list(self._values), list(self._costs)
        return other

    def best_bundle(self) -> tuple[int | None, float]:
        """The item that, with the ancestors it needs, is worth most of all that fit."""
        best, worth = None, 0.0
        for place, item in enumerate(self.items):
            if (
                self._values[place] > worth
                and self._costs[place] <= self.left
                and not item.continues
                and place not in self.chosen
                and self._is_within_caps(place)
            ):
                best, worth = place, self._values[place]
        return best, worth

    def fill(self, section: str | None = None, up_to: int = 0) -> None:
        """Take the densest bundles, of all or of one section up to so many tokens of its own, until none fits."""
        heap = [(-self._density(place), place) for place in range(len(self.items)) if self._is_eligible(place, section)]
        heapq.heapify(heap)
        while heap:
            known, place = heapq.heappop(heap)
            if place in self.chosen:
                continue
            density = self._density(place)
            if density != -known:
                if density < -known:  # greater ones were put in anew
                    heapq.heappush(heap, (-density, place))
                continue
            if section is not None and self._of(section, self._bundle(place)) > up_to:
                continue
            for below in self.take(place):
                if self._is_eligible(below, section):
                    heapq.heappush(heap, (-self._density(below), below))

    def take(self, place: int) -> list[int]:
        """Choose the item and the ancestors it needs, if they fit; give the items that have become denser by it."""
        if place in self.chosen or self._costs[place] > self.left or not self._is_within_caps(place):
            return []
        bundle = self._bundle(place)
        self.left -= self._costs[place]
        self.worth += self._values[place]
        for one in bundle:
            item = self.items[one]
            self.chosen.add(one)
            self._used[item.section] = self._used.get(item.section, 0) + item.cost
        return list(self._denser(bundle[-1]))

    def _denser(self, top: int) -> Iterator[int]:
        """What is below the item and has become denser, once all below is counted anew; and what may now continue."""
        below = list(self._children[top])
        while below:
            place = below.pop()
            below += self._children[place]
            if place not in self.chosen:
                item, before = self.items[place], self._density(place)
                self._values[place], self._costs[place] = item.value, item.cost
                if item.parent is not None and item.parent not in self.chosen:
                    self._values[place] += self._values[item.parent]
                    self._costs[place] += self._costs[item.parent]
                if item.continues or self._density(place) > before:
                    yield place

    def _is_eligible(self, place: int, section: str | None) -> bool:
        item = self.items[place]
        if place in self.chosen or (item.continues and item.parent not in self.chosen):
            return False
        return self._costs[place] <= self.left and (section is None or item.section == section)

    def _density(self, place: int) -> float:
        return self._values[place] / max(self._costs[place], 1)

    def _bundle(self, place: int) -> list[int]:
        """The item and its ancestors that are not chosen, itself first."""
        bundle = []
        at: int | None = place
        while at is not None and at not in self.chosen:
            bundle.append(at)
            at = self.items[at].parent
        return bundle

    def _is_within_caps(self, place: int) -> bool:
        if not self.caps:
            return True
        bundle = self._bundle(place)
        sections = {self.items[one].section for one in bundle}
        return all(self._of(section, bundle) <= self.caps[section] for section in sections if section in self.caps)

    def _of(self, section: str, bundle: Sequence[int]) -> int:
        """What the section's items would cost, together with those of the bundle."""
        return self._used.get(section, 0) + sum(
            self.items[one].cost for one in bundle if self.items[one].section == section
        )

"""What stands in the place of a value: `[EMAIL_1]`, or `[EMAIL]` where nothing is numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from agent_persistence.redaction.normalising import normalised


def label_pattern(kinds: Iterable[str]) -> re.Pattern[str]:
    """What finds a label of these kinds, numbered or not."""
    names = "|".join(sorted((re.escape(kind.upper()) for kind in kinds), key=len, reverse=True))
    return re.compile(rf"\[(?:{names})(?:_[1-9][0-9]{{0,5}})?\]")


class Labels:
    """Labels of one context: a value has one, numbered by kind in the order in which values are first met."""

    __slots__ = ("_by_value", "_next", "_numbered", "_taken", "_values")

    def __init__(self, *, numbered: bool) -> None:
        self._numbered = numbered
        self._by_value: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def of(self, kind: str, value: str) -> str:
        """The label of the value, a new one where the value is new."""
        if not self._numbered:
            return f"[{kind.upper()}]"
        identity = (kind, normalised(kind, value))
        label = self._by_value.get(identity)
        if label is None:
            label = self._by_value[identity] = self._fresh(kind)
            self._values[label] = value
        return label

    def take(self, labels: Iterable[str]) -> None:
        """Labels that a text holds of its own, and that are given to no value from now on."""
        self._taken.update(labels)

    def values(self) -> dict[str, str]:
        """The values by their labels, each as it was first met."""
        return dict(self._values)

    def _fresh(self, kind: str) -> str:
        while True:
            number = self._next[kind] = self._next.get(kind, 0) + 1
            label = f"[{kind.upper()}_{number}]"
            if label not in self._taken:
                return label

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._values)} values>"

    def __reduce__(self) -> Any:
        raise TypeError("labels lead back to personal values and are not pickled or copied")

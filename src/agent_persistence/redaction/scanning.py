"""Free text and JSON without the personal values that can be found in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.records import MAX_DEPTH, MAX_INT_BITS
from agent_persistence.redaction.actions import VALUE
from agent_persistence.redaction.findings import Detector, Finding, merged
from agent_persistence.redaction.folding import fold
from agent_persistence.redaction.known import KnownValues

Replace: TypeAlias = Callable[[str, str], str]
"""Gives what stands in the place of a value, by its kind and the value."""
_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class Scanner:
    """Replaces what detectors and known values find.

    The parts of a text between `opaque` matches, which are labels and pseudonyms, are texts of their own. What is left
    of one after a replacement is looked at again until nothing is found; what is still not clean after eight times is
    replaced as a whole. So a clean text stays as it is.
    """

    detectors: Collection[Detector]
    known: KnownValues
    opaque: re.Pattern[str]
    is_opaque: Callable[[str], bool]
    replace: Replace

    def text(self, text: str, cue: str = "") -> str:
        """The clean text. `cue` says what the text is, such as the name of its column."""
        pieces, start = [], 0
        for found in self.opaque.finditer(text):
            if self.is_opaque(found[0]):
                pieces += [self._clean(text[start : found.start()], cue, _ROUNDS), found[0]]
                start, cue = found.end(), ""
        return "".join((*pieces, self._clean(text[start:], cue, _ROUNDS)))

    def value(self, value: Any, cue: str = "") -> Any:
        """The clean JSON value; where something is found in a number, text."""
        return self._each(value, cue, self._scanned, 0)

    def each_text(self, value: Any, change: Callable[[str], str]) -> Any:
        """The JSON value with each text, number and boolean changed, and its keys clean."""
        return self._each(value, "", lambda leaf, _: change(as_text(leaf)), 0)

    def _each(self, value: Any, cue: str, change: Callable[[Any, str], Any], depth: int) -> Any:
        """The JSON value with each of its scalars but null and "" changed; a label for what lies too deep."""
        if value is None or value == "":
            return value
        if not isinstance(value, (Mapping, list, tuple)):
            return change(value, cue)
        if depth >= MAX_DEPTH:
            return self.replace(VALUE, "")
        if not isinstance(value, Mapping):
            return [self._each(item, cue, change, depth + 1) for item in value]
        names = {key: self.text(key) for key in sorted(value)}
        made = {key: self._each(value[key], name, change, depth + 1) for key, name in names.items()}
        return _with_every_entry((names[key], made[key]) for key in value)

    def _scanned(self, value: Any, cue: str) -> Any:
        if isinstance(value, (bool, float)):
            return value
        text = as_text(value)
        clean = self.text(text, cue)
        return value if clean == text else clean

    def _clean(self, text: str, cue: str, rounds: int) -> str:
        findings = self._find(text, cue)
        if not findings:
            return text
        if not rounds:
            return self.replace(findings[0].kind, text)
        pieces, start = [], 0
        for found in findings:
            pieces.append(self._clean(text[start : found.start], cue, rounds - 1))
            pieces.append(self.replace(found.kind, found.value or text[found.start : found.end]))
            start, cue = found.end, ""
        return "".join((*pieces, self._clean(text[start:], cue, rounds - 1)))

    def _find(self, text: str, cue: str) -> list[Finding]:
        """The findings as places in the text, in order and without overlaps."""
        if not text:
            return []
        before = f"{cue}: " if cue else ""
        folded = fold(before + text)
        found = merged(_within(self._all(folded.text), len(folded.text)))
        spans = ((finding, *folded.span(finding.start, finding.end)) for finding in found)
        return [
            replace(finding, start=max(0, start - len(before)), end=end - len(before))
            for finding, start, end in spans
            if end > len(before)
        ]

    def _all(self, text: str) -> Iterator[Finding]:
        for detector in self.detectors:
            for finding in detector.find(text):
                if finding.kind not in detector.kinds:
                    raise ConfigurationError(
                        f"{type(detector).__name__} found {printable(finding.kind)}, which is none of its kinds"
                    )
                yield finding
        yield from self.known.find(text)


def _within(findings: Iterable[Finding], length: int) -> Iterator[Finding]:
    for finding in findings:
        start, end = max(0, finding.start), min(length, finding.end)
        if start < end:
            yield finding if (start, end) == (finding.start, finding.end) else replace(finding, start=start, end=end)


def _with_every_entry(entries: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The entries as a mapping; a key that is there already gets a mark, so that no value is lost."""
    made: dict[str, Any] = {}
    for key, value in entries:
        name = key
        number = 1
        while name in made:
            number += 1
            name = f"{key} ({number})"
        made[name] = value
    return made


def texts(value: Any, *, keys: bool = True, depth: int = 0) -> Iterator[str]:
    """Every text and whole number of a JSON value as text, also those that are keys."""
    if isinstance(value, (Mapping, list, tuple)):
        if isinstance(value, Mapping):
            yield from value if keys else ()
            value = value.values()
        for item in value if depth < MAX_DEPTH else ():
            yield from texts(item, keys=keys, depth=depth + 1)
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        yield as_text(value)


def as_text(value: Any) -> str:
    """The value as JSON has it, a text without its quotes; an int of any size has a form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > MAX_INT_BITS:
        return hex(value)
    return str(value)

"""How well detectors do on sentences of which it is known what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from agent_persistence.redaction import Detector, Finding
from agent_persistence.redaction.findings import merged
from agent_persistence.redaction.folding import fold
from tests.redaction.corpus import KINDS, Sentence


@dataclass(slots=True)
class Figures:
    """Counts of one kind. A value counts as found if all of it is covered; a finding is wrong if it meets no value."""

    values: int = 0
    found: int = 0
    findings: int = 0
    right: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.findings if self.findings else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.values if self.values else 1.0

    def __iadd__(self, other: Figures) -> Self:
        self.values += other.values
        self.found += other.found
        self.findings += other.findings
        self.right += other.right
        return self


def found_by(detectors: Iterable[Detector], text: str) -> list[Finding]:
    """What the detectors find together, as places in the text."""
    folded = fold(text)
    found = merged(finding for detector in detectors for finding in detector.find(folded.text))
    spans = [folded.span(finding.start, finding.end) for finding in found]
    return [Finding(finding.kind, *span) for finding, span in zip(found, spans, strict=True)]


def measure(find: Callable[[str], Iterable[Finding]], sentences: Iterable[Sentence]) -> dict[str, Figures]:
    """The figures by kind; findings are positions in the sentence."""
    figures = {kind: Figures() for kind in KINDS}
    for sentence in sentences:
        findings = list(find(sentence.text))
        for kind, start, end in sentence.spans:
            figures[kind].values += 1
            figures[kind].found += any(f.kind == kind and f.start <= start and f.end >= end for f in findings)
        for finding in findings:
            figures[finding.kind].findings += 1
            figures[finding.kind].right += any(
                kind == finding.kind and finding.start < end and start < finding.end
                for kind, start, end in sentence.spans
            )
    return figures

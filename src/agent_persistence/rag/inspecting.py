"""A context as a page for people: the prompt by record, what each record is worth, what is missing and why. Pure.

Everything shown is as the prompt has it, redacted where that is. Keys, which no redaction changes, are not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent_persistence.rag.outline import Record
from agent_persistence.rag.ranking.matching import Match
from agent_persistence.rag.rendering.html import COLOURS, Html, bar, document, joined, table, tag
from agent_persistence.rag.scoring import Score
from agent_persistence.rag.telling import Prompt
from agent_persistence.rag.timeline import TimedRequest

_MOST_RECORDS: Final = 300
_EXCERPT: Final = 120
_TERMS: Final = ("score", "recency", "importance", "relevance", *Match._fields)
_LEFT_OUT: Final = "left out"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What there is to show. `parts` are those of the prompt's text with the references of their records; `hidden` are
    the records beyond the limits; `redactions` count by table and kind, None where nothing is redacted."""

    prompt: Prompt
    parts: Sequence[tuple[str, str]]
    records: Mapping[str, Record]
    scores: Sequence[Score]
    hidden: frozenset[str]
    count: Callable[[str], int]
    question: str = ""
    warnings: Sequence[str] = ()
    complete: bool = True
    redactions: Mapping[str, Mapping[str, int]] | None = None
    requests: Sequence[TimedRequest] = field(default_factory=list)

    def page(self) -> str:
        sections = (
            ("prompt", "Prompt", self._prompt()),
            ("records", "Records", self._records()),
            ("tokens", "Tokens", self._tokens()),
            ("rows", "Rows", self._rows()),
            ("redactions", "Redactions", self._redactions()),
            ("requests", "Requests", self._requests()),
        )
        links = (tag("a", title, href=f"#{name}") for name, title, _ in sections)
        return document(
            "Context of a model",
            [
                tag("a", "To the prompt", href="#prompt", class_="skip"),
                tag("header", tag("h1", self.question or "Context of a model"), *self._summary()),
                tag("nav", *links, aria_label="sections"),
                tag("main", *(tag("section", tag("h2", title), content, id=name) for name, title, content in sections)),
            ],
        )

    def _summary(self) -> Iterator[Html]:
        use = self.prompt.tokens
        available = None if use.budget is None else use.budget - use.reserve
        of = "" if available is None else f" of {available:,}"
        records = f"{len(self.prompt.refs):,} records, {self.prompt.format}"
        yield tag("p", f"{use.used:,}{of} tokens ({use.counter}), {records}")
        if available:
            yield bar(f"{use.used:,} of {available:,} tokens", [(0, min(use.used / available, 1), "used")])
        if not self.complete:
            yield tag("p", "Something could not be read: this context is not complete.", class_="warning")
        for warning in self.warnings:
            yield tag("p", warning, class_="warning")

    def _prompt(self) -> Html:
        """A part leads to its record below."""
        seen: set[str] = set()
        colours = self._colours()
        spans = []
        for ref, text in self.parts:
            if not ref:
                spans.append(tag("span", text, class_="soft"))
                continue
            first = None if ref in seen else f"p-{ref}"
            seen.add(ref)
            spans.append(tag("a", text, href=f"#r-{ref}", id=first, class_=colours[ref], title=self._named(ref)))
        return tag("pre", *spans, tabindex=0, aria_label="prompt")

    def _named(self, ref: str) -> str:
        return f"{ref}, {self.records[ref].entity.tag}"

    def _colours(self) -> Mapping[str, str]:
        """Neighbours in the prompt have different colours."""
        return {ref: f"c{place * 5 % COLOURS}" for place, ref in enumerate(self.prompt.refs)}

    def _records(self) -> Html:
        shown = frozenset(self.prompt.refs)
        kept = [score for place, score in enumerate(self.scores) if place < _MOST_RECORDS or score.ref in shown]
        terms = {score.ref: _terms(score) for score in kept}
        names = [name for name in _TERMS if any(each[name] for each in terms.values())]
        columns = [("record", False), ("in the prompt", False), *((name, True) for name in names), ("text", False)]
        rows = (self._record(score, [terms[score.ref][name] for name in names], score.ref in shown) for score in kept)
        listed = table("records by score", columns, rows)
        more = len(self.scores) - len(kept)
        return joined([listed, tag("p", f"{more:,} more with lower scores.", class_="soft")]) if more else listed

    def _record(self, score: Score, terms: Sequence[float], is_shown: bool) -> Html:
        record = self.records[score.ref]
        where = tag("a", self._named(score.ref), href=f"#p-{score.ref}") if is_shown else self._named(score.ref)
        text = " ".join(" ".join([record.title, *record.texts().values()]).split())
        return tag(
            "tr",
            tag("td", where),
            tag("td", ("pinned" if score.pinned else "yes") if is_shown else self._why_not(score)),
            *(tag("td", f"{term:.2f}" if term else "", class_="n") for term in terms),
            tag("td", text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else ""), class_="text"),
            id=f"r-{score.ref}",
        )

    def _why_not(self, score: Score) -> str:
        if score.ref in self.hidden and self.prompt.tokens.budget is None:
            return f"{_LEFT_OUT}: beyond the limit of its table"
        return f"{_LEFT_OUT}: {'worth too little' if score.score else 'worth nothing'} for the tokens there are"

    def _tokens(self) -> Html:
        by_section: Counter[str] = Counter()
        for ref, text in self.parts:
            by_section[self.records[ref].table if ref else "frame and notes"] += self.count(text)
        total = sum(by_section.values()) or 1
        rows = (
            tag(
                "tr",
                tag("td", name),
                tag("td", f"{tokens:,}", class_="n"),
                tag("td", bar(name, [(0, tokens / total, "used")])),
            )
            for name, tokens in by_section.most_common()
        )
        return table("tokens by section", [("section", False), ("tokens", True), ("", False)], rows)

    def _rows(self) -> Html:
        report = self.prompt.report
        names = list(next(iter(report.values()), {}))
        rows = (
            tag("tr", tag("td", name), *(tag("td", _cell(counts[column]), class_="n") for column in names))
            for name, counts in report.items()
        )
        return table("rows by table", [("table", False), *((name.replace("_", " "), True) for name in names)], rows)

    def _redactions(self) -> Html:
        if self.redactions is None:
            return tag("p", "Nothing is redacted in this context.")
        rows = (
            tag("tr", tag("td", name), tag("td", kind), tag("td", f"{count:,}", class_="n"))
            for name, kinds in sorted(self.redactions.items())
            for kind, count in kinds.items()
            if name in self.prompt.report
        )
        return table("values replaced", [("table", False), ("kind", False), ("values", True)], rows)

    def _requests(self) -> Html:
        if not self.requests:
            return tag("p", "No request was made: the rows were given.")
        began = min(one.began_s for one in self.requests)
        took = max(one.began_s + one.took_s for one in self.requests) - began or 1.0
        rows = (
            tag(
                "tr",
                tag("td", one.name),
                tag("td", bar(one.name, [((one.began_s - began) / took, one.took_s / took, "used")])),
                tag("td", f"{(one.began_s - began) * 1000:.1f}", class_="n"),
                tag("td", f"{one.took_s * 1000:.1f}", class_="n"),
                tag("td", "failed" if one.answers is None else f"{one.answers:,}", class_="n"),
            )
            for one in self.requests
        )
        columns = [("request", False), ("when", False), ("from ms", True), ("took ms", True), ("answers", True)]
        return table("requests on a time line", columns, rows)


def _terms(score: Score) -> Mapping[str, float]:
    """The score, what it is the sum of, and below that what the relevance is made of, before it is scaled."""
    own = {name: getattr(score, name) for name in _TERMS[:4]}
    return dict.fromkeys(_TERMS, 0.0) | own | (score.match._asdict() if score.match else {})


def _cell(value: Any) -> str:
    return "not known" if value is None else f"{value:,}" if type(value) is int else ("yes" if value else "no")

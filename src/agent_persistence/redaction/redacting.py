"""Rows and texts without personal data: an action for each column, detectors for free text, labels for what was found.

    redaction = Redaction({"leads": {"email": redact("email"), "notes": scan()}})
    redactor = redaction.session()
    redactor.tables({"leads": rows})      # [EMAIL_1], [PHONE_1], … with the same label for the same value
    redactor.restore(answer)              # the values back in the place of their labels

Pure: nothing here reads a clock, a file or a network. What was found is in no repr, pickle or copy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from functools import partial
from typing import Any, Final, Self

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.records import Record, Row
from agent_persistence.redaction import columns as columns_of
from agent_persistence.redaction.actions import (
    VALUE,
    Action,
    Allow,
    Drop,
    Generalize,
    Mask,
    Pseudonymize,
    Redact,
    allow,
    check_kind,
    drop,
    generalize,
    mask,
    pseudonymize,
    redact,
    scan,
)
from agent_persistence.redaction.cards import Cards
from agent_persistence.redaction.credentials import Credentials
from agent_persistence.redaction.emails import Emails
from agent_persistence.redaction.findings import Detector, Finding
from agent_persistence.redaction.ibans import Ibans
from agent_persistence.redaction.ips import IpAddresses
from agent_persistence.redaction.known import KnownValues
from agent_persistence.redaction.labels import Labels, label_pattern
from agent_persistence.redaction.phones import Phones
from agent_persistence.redaction.pseudonyms import PSEUDONYM, Pseudonyms
from agent_persistence.redaction.scanning import Scanner, texts
from agent_persistence.schema.registry import Schema, default_schema

__all__ = [
    "DETECTORS",
    "Action",
    "Cards",
    "Credentials",
    "Detector",
    "Emails",
    "Finding",
    "Ibans",
    "IpAddresses",
    "Phones",
    "Redaction",
    "Redactor",
    "allow",
    "drop",
    "generalize",
    "mask",
    "pseudonymize",
    "redact",
    "scan",
]

DETECTORS: Final[tuple[Detector, ...]] = (Credentials(), Emails(), Ibans(), Cards(), IpAddresses(), Phones())
"""The detectors of a Redaction that names none. Where findings are equally long, the first of them counts."""
_DROPPED: Final = "dropped"
_NO_COLUMNS: Final[Mapping[str, Action]] = {}


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is done with each column of each table, and with any column that is not named: by default it is left out.

    `detectors` look through the texts that are scanned. `key`, of 16 bytes or more, is needed by `pseudonymize`; the
    same key gives the same pseudonyms everywhere. Frozen, checked when it is made, and shows no key.
    """

    columns: Mapping[str, Mapping[str, Action]]
    unknown: Action = field(default=Drop(), kw_only=True)
    detectors: Sequence[Detector] = field(default=DETECTORS, kw_only=True)
    key: InitVar[str | bytes | None] = field(default=None, kw_only=True)
    _pseudonyms: Pseudonyms | None = field(init=False, repr=False, compare=False)
    _pseudonymous: frozenset[str] = field(init=False, repr=False, compare=False)
    _opaque: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self, key: str | bytes | None) -> None:
        set_field = partial(object.__setattr__, self)
        set_field("columns", columns_of.checked(self.columns))
        columns_of.check_action("unknown", self.unknown)
        set_field("detectors", _checked_detectors(self.detectors))
        actions = [self.unknown, *(action for by_column in self.columns.values() for action in by_column.values())]
        set_field("_pseudonymous", frozenset(action.kind for action in actions if isinstance(action, Pseudonymize)))
        if self._pseudonymous and key is None:
            raise ConfigurationError(
                "pseudonymize needs key=…, kept like a password; secrets.token_urlsafe(32) makes one"
            )
        set_field("_pseudonyms", None if key is None else Pseudonyms(key))
        found = {kind for detector in self.detectors for kind in detector.kinds}
        labels = label_pattern({VALUE, *found, *(action.kind for action in actions if action.kind)})
        set_field("_opaque", re.compile(labels.pattern + (f"|{PSEUDONYM}" if key is not None else "")))

    @classmethod
    def default(cls, schema: Schema | None = None, *, key: str | bytes | None = None) -> Self:
        """The redaction after what a schema, by default that of the eight tables, says of its columns.

        Columns with a `pii` tag are labelled, or with a key pseudonymised; numbers, times, booleans and columns with a
        list of values are allowed; texts, arrays and JSON are scanned; bytes and undeclared columns are dropped.
        """
        return cls(columns_of.from_schema(schema or default_schema(), pseudonymous=key is not None), key=key)

    def action(self, table: str, column: str) -> Action:
        """What is done with the column."""
        return self.columns.get(table, _NO_COLUMNS).get(column, self.unknown)

    def session(self) -> Redactor:
        """A redactor for one context, which numbers its labels from 1."""
        return Redactor(self, Labels(numbered=True))

    def row(self, table: str, row: Record) -> Row:
        """The row by itself: labels have no number, and what is known is what its own columns say."""
        return Redactor(self, Labels(numbered=False)).rows(table, [row])[0]

    def pseudonym(self, kind: str, value: str) -> str:
        """What `pseudonymize(kind)` makes of the value, to look for it where it was stored under it."""
        if self._pseudonyms is None:
            raise ConfigurationError("a pseudonym needs a Redaction with key=…")
        check_kind(kind)
        return self._pseudonyms.of(kind, value)


class Redactor:
    """The redaction of one context: a value has one label, numbered by kind in the order of appearance.

    Values of columns that have a kind are replaced in the texts of every row that is redacted after they were learnt.
    Columns are taken in the order of `Redaction.columns`, keys of JSON by name, so that equal rows give equal labels.
    A text may hold labels of its own; those that were learnt, or met before they were given, stand for no value.
    """

    __slots__ = ("_counts", "_known", "_labels", "_redaction")

    def __init__(self, redaction: Redaction, labels: Labels) -> None:
        self._redaction = redaction
        self._labels = labels
        self._known = KnownValues()
        self._counts: dict[str, Counter[str]] = {}

    def learn(self, table: str, rows: Iterable[Record]) -> None:
        """The rows' names, addresses and the like are known from now on."""
        for row in rows:
            self._take_labels(row)
            for column, value in row.items():
                self._learn(self._redaction.action(table, column), value)

    def tables(self, rows: Mapping[str, Iterable[Record]]) -> dict[str, list[Row]]:
        """The rows of each table, redacted, after all of them were learnt."""
        listed = {table: list(given) for table, given in rows.items()}
        for table, given in listed.items():
            self.learn(table, given)
        return {table: [self.row(table, row) for row in given] for table, given in listed.items()}

    def rows(self, table: str, rows: Iterable[Record]) -> list[Row]:
        """The rows of one table, redacted, after all of them were learnt."""
        return self.tables({table: rows})[table]

    def row(self, table: str, row: Record) -> Row:
        """The row, redacted; what is not a value of a known column is only found if a detector finds it."""
        self._take_labels(row)
        order = {column: place for place, column in enumerate(self._redaction.columns.get(table, _NO_COLUMNS))}
        made = {}
        for column in sorted(row, key=lambda name: (order.get(name, len(order)), str(name))):
            action = self._redaction.action(table, column)
            if isinstance(action, Drop):
                self._count(table, _DROPPED)
            else:
                made[column] = self._redacted(table, action, row[column], column)
        return {column: made[column] for column in row if column in made}

    def text(self, text: str, *, table: str = "text") -> str:
        """The text without what detectors and known values find; `table` is where it is counted."""
        self._take_labels(text)
        return self._scanner(table).text(text)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many values were replaced so far, by table and kind; "dropped" counts columns that were left out.

        What an action without a kind replaced counts as "value", "masked" or "generalized".
        """
        return {table: dict(sorted(found.items())) for table, found in self._counts.items()}

    def values(self) -> dict[str, str]:
        """The values by their labels: personal data, which nothing else of this object gives."""
        return self._labels.values()

    def restore(self, text: str) -> str:
        """The text, such as a model's answer, with the values in the place of their labels."""
        values = self._labels.values()
        return self._redaction._opaque.sub(lambda found: values.get(found[0], found[0]), text)

    def _learn(self, action: Action, value: Any) -> None:
        if action.kind is None or action.kind == VALUE:
            return
        for text in texts(value, keys=False):
            is_masked = isinstance(action, Mask) and action.masked(text) == text
            if not (is_masked or self._is_whole(text)):
                self._known.add(action.kind, text)

    def _redacted(self, table: str, action: Action, value: Any, column: str) -> Any:
        scanner = self._scanner(table)
        match action:
            case Allow():
                return value
            case Mask():
                change = partial(self._masked, table, action)
            case Generalize():
                change = partial(self._generalised, table, action)
            case Redact() | Pseudonymize():
                change = partial(scanner.replace, action.kind)
            case _:
                return scanner.value(value, column)
        return scanner.each_text(value, lambda text: text if self._is_whole(text) else change(text))

    def _scanner(self, table: str) -> Scanner:
        redaction = self._redaction
        return Scanner(
            redaction.detectors, self._known, redaction._opaque, self._is_opaque, partial(self._replace, table)
        )

    def _replace(self, table: str, kind: str, value: str) -> str:
        self._count(table, kind)
        pseudonyms = self._redaction._pseudonyms
        if pseudonyms and kind in self._redaction._pseudonymous:
            return pseudonyms.of(kind, value)
        return self._labels.of(kind, value)

    def _masked(self, table: str, action: Mask, text: str) -> str:
        self._count(table, action.kind or "masked")
        return action.masked(text)

    def _generalised(self, table: str, action: Generalize, text: str) -> str:
        coarser = action.generalised(text)
        if coarser is None:
            return self._replace(table, VALUE, text)
        self._count(table, "generalized")
        return coarser

    def _count(self, table: str, kind: str) -> None:
        self._counts.setdefault(table, Counter())[kind] += 1

    def _is_opaque(self, text: str) -> bool:
        """Whether what looks like a label or pseudonym is one: a pseudonym can be checked."""
        pseudonyms = self._redaction._pseudonyms
        return text.startswith("[") or (pseudonyms is not None and pseudonyms.made(text))

    def _is_whole(self, text: str) -> bool:
        return self._redaction._opaque.fullmatch(text) is not None and self._is_opaque(text)

    def _take_labels(self, value: Any) -> None:
        for text in texts(value):
            if "[" in text:
                self._labels.take(self._redaction._opaque.findall(text))

    def __repr__(self) -> str:
        return f"<Redactor: {self.counts()}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Redactor knows personal values and is not pickled or copied; make another with session()")


def _checked_detectors(detectors: object) -> tuple[Detector, ...]:
    if not isinstance(detectors, Iterable):
        raise ConfigurationError("detectors is a list of detectors, such as [*DETECTORS, MyDetector()]")
    found = tuple(detectors)
    for detector in found:
        if isinstance(detector, type) or not (hasattr(detector, "find") and hasattr(detector, "kinds")):
            raise ConfigurationError(f"detectors: {printable(detector)} is no object with find(text) and kinds")
        for kind in detector.kinds:
            check_kind(kind)
    return found

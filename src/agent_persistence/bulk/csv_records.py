"""Records of a CSV file, as PostgreSQL's COPY reads them: an empty field is NULL, `""` is the empty string."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from agent_persistence.bulk.columns import REJECT_LINE, REJECT_REASON, CellError, Columns, ImportTarget, Shape
from agent_persistence.bulk.lines import Unreadable
from agent_persistence.bulk.rows import Items, Row, SourceError
from agent_persistence.bulk.spelling import PLAIN, Spelling, trimmed
from agent_persistence.bulk.values import Reject
from agent_persistence.exceptions import ConfigurationError

MAX_RECORD_CHARS: Final = 1 << 24


class Dialect(NamedTuple):
    """How fields are parted, which unquoted text is NULL and which others are.

    With `trim`, blanks around a field are no part of it; with `quoted_null`, texts in quotes may be NULL too.
    """

    delimiter: str = ","
    null: str = ""
    more_nulls: tuple[str, ...] = ()
    trim: bool = False
    quoted_null: bool = False

    @property
    def nulls(self) -> tuple[str, ...]:
        """All texts that are NULL."""
        return (self.null, *self.more_nulls)

    def check(self) -> None:
        """Refuse what would look like a quote, a line end or a field."""
        if len(str(self.delimiter)) != 1 or self.delimiter in '"\r\n\0':
            raise ConfigurationError(
                f"delimiter is one character, neither quote nor line end, not {self.delimiter!r:.20}"
            )
        if any(mark in null for null in self.nulls for mark in (self.delimiter, '"', "\r", "\n")):
            raise ConfigurationError("null is the text that stands for NULL, without delimiter, quote and line end")


Record: TypeAlias = tuple[int, str, list[str | None], str | None]
"""The line in which a record begins, its text, its fields, and what is wrong with it."""


class CsvReader:
    """The rows of a CSV file. Its first record is the header, unless `columns` lists the names.

    A record of another number of fields, one that is spelled as the header is, or with a text that is no value of its
    column, is a reject. A blank line is a row where there is one column, and is left out where there are more.
    `records` stand in the place of those of the lines.
    """

    def __init__(
        self,
        lines: Iterable[str],
        dialect: Dialect,
        columns: Columns,
        target: ImportTarget,
        *,
        spelling: Spelling = PLAIN,
        skip_lines: int = 0,
        records: Iterator[Record] | None = None,
    ) -> None:
        self._records = csv_records(lines, dialect, skip_lines) if records is None else records
        self._delimiter = dialect.delimiter
        self._columns = columns
        self._target = target
        self._spelling = spelling
        self._header = self._bare_header = ""

    def __iter__(self) -> Items:
        header = self._read_header()
        shape = Shape.of(header, self._columns, self._target, self._spelling)
        width, overhead = len(shape.names), shape.overhead
        for line, text, fields, problem in self._records:
            if not text and problem is None and width > 1:
                continue
            if self._bare_header and text.endswith(self._bare_header) and self._repeats_header(text):
                yield Reject(line, _REPEATED, None, text)
            elif problem is None and len(fields) == width:
                if None in fields and is_sum(fields, text):
                    yield Reject(line, SUMS_UP, None, text)
                    continue
                try:
                    yield Row(line, shape.record(fields), text, len(text) + overhead)
                except CellError as error:
                    yield Reject(line, str(error), error.column, text)
            else:
                yield Reject(line, problem or ragged(fields, width), None, text)

    def _read_header(self) -> list[str]:
        if self._columns is not None and not isinstance(self._columns, Mapping):
            self._header = self._delimiter.join(map(self._quoted, self._columns))
            return list(self._columns)
        first = next((record for record in self._records if record[1] or record[3]), None)
        if first is None:
            raise SourceError("the source has blank lines alone, and no header")
        line, self._header, fields, problem = first
        self._bare_header = self._without_marks(self._header)
        if problem:
            raise SourceError(f"the header: {problem}", line)
        return [field or "" for field in fields]

    def _repeats_header(self, text: str) -> bool:
        """As in files that were put together; marks of a rejects file are in front of the header alone."""
        return self._without_marks(text.removeprefix("\ufeff")) == self._bare_header

    def reject_head(self) -> str:
        """The first line of a rejects file: the header, with two names in front."""
        return self._marked(REJECT_LINE, REJECT_REASON, self._without_marks(self._header))

    def reject_text(self, reject: Reject) -> str:
        """The record as it stood in the source, with its line and the reason in front."""
        return self._marked(str(reject.line), self._quoted(reject.reason), self._without_marks(str(reject.record)))

    def _marked(self, *parts: str) -> str:
        return self._delimiter.join(parts) + "\n"

    def _quoted(self, text: str) -> str:
        escaped = text.replace('"', '""')
        return f'"{escaped}"'

    def _without_marks(self, text: str) -> str:
        """A record of a rejects file without what that file had put in front."""
        if not self._header.startswith(REJECT_LINE):
            return text
        mark = re.escape(self._delimiter)
        return re.sub(rf'^[^{mark}]*{mark}(?:"(?:[^"]++|"")*+"|[^{mark}]*){mark}', "", text)


_REPEATED: Final = "repeats the header; where it is a row indeed, quote one of its fields"


SUMS_UP: Final = "sums up other rows; where it is a row indeed, quote one of its fields"
_SUMS: Final = frozenset(
    {
        *("total", "totals", "subtotal", "grand total", "sum", "sums", "summe", "gesamt", "gesamtsumme"),
        *("zwischensumme", "totaal", "total general", "suma", "totale", "somme"),
    }
)
_FIGURE: Final = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*")


def is_sum(fields: list[str | None], text: str) -> bool:
    """Whether a record begins with such a word as "Total", and holds figures and empty fields beside it."""
    filled = filter(None, fields)
    if next(filled, "").strip().rstrip(": ").lower() not in _SUMS or '"' in text:
        return False
    return all(map(_FIGURE.fullmatch, filled))


def ragged(fields: list[str | None], width: int) -> str:
    """Why a record of another number of fields is none."""
    count = len(fields)
    problem = f"{count} field{'s' if count > 1 else ''}, where {width} belong"
    return f"{problem}; perhaps a note below or above the rows" if count == 1 < width - 1 else problem


def csv_records(lines: Iterable[str], dialect: Dialect, skip_lines: int = 0) -> Iterator[Record]:
    """The records behind the first `skip_lines` lines; of a blank line one empty field.

    A field may hold line ends if it is quoted, and quotes if they are doubled. A quote in the middle of an unquoted
    field stands for itself.
    """
    delimiter, null, more_nulls, trim, _ = dialect
    is_plain = not (more_nulls or trim)
    quoted = _Quoted(dialect)
    numbered = enumerate(lines, 1)
    for _ in islice(numbered, skip_lines):
        pass
    for number, line in numbered:
        if '"' in line or type(line) is not str:
            yield quoted.record(number, line, numbered)
        else:
            text = line[:-1] if line[-1:] == "\r" else line
            fields: list[str | None] = text.split(delimiter)  # type: ignore[assignment]
            if not is_plain:
                fields = [_unquoted(field or "", dialect) for field in fields]
            elif null in fields:
                fields = [None if field == null else field for field in fields]
            yield number, text, fields, None


def _unquoted(field: str, dialect: Dialect) -> str | None:
    text = trimmed(field) if dialect.trim else field
    return None if text in dialect.nulls else text


class _Quoted:
    """Reads records that hold a quote."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        mark = re.escape(dialect.delimiter)
        around = r"[ \u00a0]*" if dialect.trim else ""
        field = rf'{around}"(?:[^"]++|"")*+"{around}|[^"{mark}][^{mark}]*|'
        self._fields = re.compile(rf"(?:^|{mark})({field})")
        self._open = re.compile(rf'(?:(?:{field}){mark})*+"(?:[^"]++|"")*+')

    def record(self, number: int, text: str, lines: Iterator[tuple[int, str]]) -> Record:
        """The record that begins with this text, for which further lines are read if a quoted field goes on there."""
        if isinstance(text, Unreadable):
            return number, text, [], text.problem
        while (fields := self._split(text.removesuffix("\r"))) is None and self._open.fullmatch(text):
            more, problem = self._closed(number, text, lines)
            text += more
            if problem:
                return number, text, [], problem
        text = text.removesuffix("\r")
        if fields is None:
            return number, text, [], "text behind a closing quote; a quote inside of a quoted field is doubled"
        return number, text, fields, None

    def _split(self, text: str) -> list[str | None] | None:
        found = self._fields.findall(text)
        if sum(map(len, found)) + len(found) - 1 != len(text):
            return None
        if self._dialect.trim or self._dialect.quoted_null:
            return [self._spelled(field) for field in found]
        nulls = self._dialect.nulls
        return [None if f in nulls else f if f[:1] != '"' else f[1:-1].replace('""', '"') for f in found]

    def _spelled(self, field: str) -> str | None:
        bare = trimmed(field) if self._dialect.trim else field
        if bare[:1] != '"':
            return _unquoted(bare, self._dialect)
        text = bare[1:-1].replace('""', '"')
        if self._dialect.quoted_null:
            return _unquoted(text, self._dialect)
        return trimmed(text) if self._dialect.trim else text

    def _closed(self, number: int, text: str, lines: Iterator[tuple[int, str]]) -> tuple[str, str | None]:
        """What follows up to the next line with an odd number of quotes, which alone can close the field."""
        size, parts = len(text), [""]
        for _, line in lines:
            if isinstance(line, Unreadable):
                return "\n".join([*parts, line]), line.problem
            parts.append(line)
            size += len(line) + 1
            if line.count('"') % 2:
                return "\n".join(parts), None
            if size > MAX_RECORD_CHARS:
                raise SourceError(f"a quoted field is not closed within {MAX_RECORD_CHARS:,} characters", number)
        return "\n".join(parts), "a quoted field is not closed"

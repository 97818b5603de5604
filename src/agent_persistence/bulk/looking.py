"""A look at the beginning of a file before anything of it is imported: what it is, and with which options it fits."""

from __future__ import annotations

import json
import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Final

from agent_persistence.bulk.columns import MARKS, REST, ImportTarget, is_filled
from agent_persistence.bulk.csv_records import CsvReader, Dialect, Record, csv_records
from agent_persistence.bulk.encodings import found_encoding
from agent_persistence.bulk.excel import sheet_names, sheet_records
from agent_persistence.bulk.guessing import infer
from agent_persistence.bulk.headers import DELIMITERS, best_delimiter, header_place, headings, most_meant
from agent_persistence.bulk.headings import matches
from agent_persistence.bulk.json_array import array_items
from agent_persistence.bulk.lines import text_lines
from agent_persistence.bulk.misfits import Kind, kind_of, remedy
from agent_persistence.bulk.opening import Opened
from agent_persistence.bulk.reading import line_reader
from agent_persistence.bulk.rows import Row, SourceError
from agent_persistence.bulk.settings import SourceOptions, format_of_name
from agent_persistence.bulk.values import FileLook, Reject
from agent_persistence.exceptions import PersistenceError
from agent_persistence.query.identifiers import are_columns

HEAD_BYTES: Final = 1 << 18
SAMPLE_RECORDS: Final = 1_000
_MARKED: Final = re.compile(r"sep=(.)\r?", re.IGNORECASE)


def look(path: str | os.PathLike[str], target: ImportTarget, given: Mapping[str, Any], *, rows: int = 5) -> FileLook:
    """What the file is. Of a text the first 256 KB are read, of a spreadsheet all of it; nothing is sent."""
    return _Looking(path, target, dict(given), rows).result()


class _Looking:
    """One look, as it comes about."""

    def __init__(self, path: str | os.PathLike[str], target: ImportTarget, given: dict[str, Any], rows: int) -> None:
        self._path, self._target, self._rows = path, target, rows
        self._given = {name: value for name, value in given.items() if value is not None}
        self._options = dict(self._given)
        self._found: dict[str, str] = {}
        self._problems: list[str] = []
        self._words: list[str] = []
        self._columns: dict[str, str] = {}
        self._left_out: tuple[str, ...] = ()
        self._lines: list[str] = []

    def result(self) -> FileLook:
        preview: tuple[Mapping[str, Any] | Reject, ...] = ()
        try:
            head, is_whole = self._head()
            preview = self._examined(head, is_whole=is_whole)
        except (SourceError, PersistenceError) as error:
            self._problems.append(str(error))
        return FileLook(
            ", ".join(self._words),
            self._options,
            self._found,
            tuple(dict.fromkeys(self._problems)),
            self._columns,
            self._left_out,
            preview,
        )

    def _head(self) -> tuple[bytes, bool]:
        with closing(Opened(self._path)) as opened:
            head = b""
            for block in opened.blocks():
                head += block
                if len(head) >= HEAD_BYTES:
                    return head[:HEAD_BYTES], False
            return head, True

    def _find(self, option: str, value: Any, why: str) -> None:
        """Set the option, unless it was given."""
        if option not in self._given:
            self._options[option] = value
            self._found[option] = why

    def _examined(self, head: bytes, *, is_whole: bool) -> tuple[Mapping[str, Any] | Reject, ...]:
        kind = kind_of(head)
        named = self._given.get("format") or format_of_name(self._path)
        if kind in ("html", "xml", "zip", "binary", "pdf"):
            self._problems.append(f"the file is {remedy(kind)}")
            return ()
        if kind in ("text", "json", "jsonl"):
            self._lines = self._text_lines(head, is_whole=is_whole or kind == "json")
        form = self._form(kind, named)
        if form is None:
            return ()
        if form != named:
            self._find("format", form, remedy(kind) if kind != "text" else "the ending tells nothing")
        if form == "parquet":
            self._words.append("Parquet")
            return ()
        if form == "excel":
            return self._examined_sheet()
        return self._examined_csv() if form == "csv" else self._examined_json(form)

    def _form(self, kind: Kind, named: str | None) -> str | None:
        """The format; None where the file is none of the one that was asked for, which is a problem then."""
        is_json = named in ("json", "jsonl") and any(line.lstrip()[:1] in ("{", "[") for line in self._lines)
        form = str(named) if kind == "text" and is_json else "csv" if kind == "text" else kind
        if form == named or ("format" not in self._given and (named is None or kind != "text")):
            return form
        if kind == "text":
            self._problems.append(f"the file is no {named}, but a text: say format='csv' if it is CSV")
        else:
            self._problems.append(f"the file is {remedy(kind)}")
        return None

    def _text_lines(self, head: bytes, *, is_whole: bool) -> list[str]:
        encoding = self._given.get("encoding")
        if encoding is None:
            found = found_encoding(head, is_whole=is_whole)
            if found is None:
                raise SourceError("the text is in no encoding that can be told: say encoding='…'")
            if found.is_guessed:
                self._find("encoding", found.name, f"the bytes are no UTF-8, and look like {found.name}")
            encoding = found.name
        self._words.append(encoding or ("UTF-16" if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "UTF-8"))
        lines: list[str] = []
        try:
            lines.extend(text_lines([head], encoding))
        except SourceError:  # a character may be cut in two where the head ends
            if is_whole:
                raise
        return lines if is_whole else lines[:-1]

    # JSON

    def _examined_json(self, form: str) -> tuple[Mapping[str, Any] | Reject, ...]:
        self._words.insert(0, "a JSON array" if form == "json" else "JSON lines")
        if form == "json":
            self._lines = self._array_lines()
        sample = []
        for text in self._lines[:SAMPLE_RECORDS]:
            with suppress(ValueError):
                sample.append(json.loads(text))
        objects = [item for item in sample if isinstance(item, dict)]
        if not objects:
            self._problems.append("there is no JSON object in it")
            return ()
        self._match(list(dict.fromkeys(name for item in objects for name in item)))
        return self._preview(self._lines)

    def _array_lines(self) -> list[str]:
        found: list[str] = []
        with suppress(SourceError):  # the head may end within an item
            found.extend(islice(array_items(f"{line}\n" for line in self._lines), SAMPLE_RECORDS))
        return found

    # Spreadsheets

    def _examined_sheet(self) -> tuple[Mapping[str, Any] | Reject, ...]:
        self._words.append("a spreadsheet")
        with closing(Opened(self._path)) as opened:
            names = sheet_names(opened.file)
        if len(names) > 1 and "sheet" not in self._given:
            best = max(names, key=lambda name: most_meant(self._sheet(name), self._target.columns))
            self._find("sheet", best, f"of the sheets {', '.join(map(repr, names))}")
        records = self._sheet(self._options.get("sheet"))
        self._examine_records(records)
        skipped = self._options.get("skip_lines", 0)
        return self._preview_of(iter([record for record in records if record[0] > skipped]))

    def _sheet(self, name: str | None) -> list[Record]:
        with closing(Opened(self._path)) as opened:
            rows = sheet_records(opened.file, name, self._reading().dialect, self._given.get("skip_lines", 0))
            return list(islice(rows, SAMPLE_RECORDS))

    # CSV

    def _examined_csv(self) -> tuple[Mapping[str, Any] | Reject, ...]:
        self._words.insert(0, "CSV")
        marked = _MARKED.fullmatch(self._lines[0]) if self._lines else None
        begin = self._given.get("skip_lines", 0)
        if marked and not begin:
            begin = 1
            self._find("skip_lines", 1, f"the first line, sep={marked[1]}, tells the delimiter")
            self._find("delimiter", marked[1], "the first line says so")
        delimiter = self._reading().dialect.delimiter
        if "delimiter" not in self._options:
            best = best_delimiter(self._lines, begin, self._target.columns) or delimiter
            if best != delimiter:
                self._find("delimiter", best, f"fields are parted by {DELIMITERS[best]}")
                delimiter = best
        self._words.append(f"delimiter {delimiter!r}")
        records = list(islice(csv_records(self._lines, Dialect(delimiter), begin), SAMPLE_RECORDS))
        self._examine_records(records, begin)
        return self._preview(self._lines)

    # What CSV and spreadsheets share

    def _examine_records(self, records: list[Record], begin: int = 0) -> None:
        columns = self._given.get("columns")
        if columns is not None and not isinstance(columns, Mapping):
            self._infer(list(columns), records)
            return
        named = None if columns is None else [name for name in columns if name != REST]
        place = header_place(records, self._target.columns, named)
        if place is None:
            self._problems.append(
                "there is no header that names a column: say columns=['email', …] for a file without one, or"
                f" columns={{heading: column}}; {self._target.table} has {', '.join(self._target.columns)}"
            )
            return
        above = records[place][0] - 1
        if above > begin and any(record[1].strip() for record in records[:place]):
            self._find("skip_lines", above, f"the header is in line {above + 1}, below a title")
        self._words.append(f"header in line {above + 1}")
        header = headings(records[place])
        self._match(list(header))
        self._infer(list(header), records[place + 1 :])

    def _match(self, found: list[str]) -> None:
        """Which column each heading goes into; the mapping is a finding unless the headings are the columns."""
        given = self._given.get("columns")
        names = [name for name in found if name not in MARKS or name in self._target.columns]
        if isinstance(given, Mapping):
            rest = REST not in given
            self._columns = {
                name: str(given.get(name, name)) for name in names if given.get(name, name if rest else None)
            }
            self._check_needed()
            return
        meant = self._taken_headings(names)
        self._left_out = tuple(name for name in names if name not in meant)
        self._columns = meant
        if not meant:
            self._problems.append(
                f"no heading names a column of {self._target.table}: say columns={{heading: column}}; the headings are"
                f" {', '.join(map(repr, names[:30]))}, the columns {', '.join(self._target.columns)}"
            )
            return
        if self._left_out or any(heading != column for heading, column in meant.items()):
            mapping: dict[str, str | None] = dict(meant)
            self._find("columns", {**mapping, REST: None}, "headings that name columns otherwise, or none")
        self._check_needed()

    def _taken_headings(self, names: Sequence[str]) -> dict[str, str]:
        """By heading its column. Where the table is not declared, it may have others: what could be one is taken."""
        meant = matches(names, self._target.columns)
        if not self._target.is_declared:
            meant |= {name: name for name in names if are_columns((name,)) and name not in meant.values()}
        return {name: meant[name] for name in names if name in meant}

    def _check_needed(self) -> None:
        if self._given.get("on_conflict") or not self._target.is_declared:
            return
        for name, column in self._target.columns.items():
            if not column.nullable and column.default is None and name not in self._columns.values():
                self._problems.append(
                    f"{name} is needed, and no heading names it: say columns={{heading: '{name}', …}}"
                )

    def _infer(self, header: Sequence[str], records: Sequence[Record]) -> None:
        given = self._given.get("columns")
        places = (
            dict(enumerate(given))
            if given is not None and not isinstance(given, Mapping)
            else {header.index(heading): column for heading, column in self._columns.items() if heading in header}
        )
        whole = [record[2] for record in records if record[3] is None and len(record[2]) == len(header)]
        texts = {
            column: [text for fields in whole if (text := fields[place]) is not None]
            for place, column in places.items()
        }
        for place, column in places.items():
            declared = self._target.columns.get(column)
            if declared is not None and is_filled(declared) and any(not fields[place] for fields in whole):
                self._find("fill_defaults", True, f"{column} may not be empty, and has a default")
        inferred = infer(texts, self._target.columns, self._given)
        if any(
            f'"{null}"' in record[1] for null in inferred.options.get("null", ([], ""))[0] if null for record in records
        ):
            inferred.add("quoted_null", True, "texts in quotes where there is no value")
        for option, (value, why) in inferred.options.items():
            self._find(option, value, why)
        self._problems += inferred.problems
        if records and not whole:
            widths = Counter(len(record[2]) for record in records)
            self._problems.append(
                f"no row has the {len(header)} fields of the header, most have {widths.most_common(1)[0][0]}:"
                " another delimiter=, or skip_lines= for what stands above the header"
            )

    # The first rows

    def _preview(self, lines: list[str]) -> tuple[Mapping[str, Any] | Reject, ...]:
        if self._problems:
            return ()
        return self._taken(iter(line_reader(self._reading(), lines, self._target)))

    def _preview_of(self, records: Iterator[Record]) -> tuple[Mapping[str, Any] | Reject, ...]:
        if self._problems:
            return ()
        reading = self._reading()
        reader = CsvReader(
            [], reading.dialect, reading.columns, self._target, spelling=reading.spelling, records=records
        )
        return self._taken(iter(reader))

    def _taken(self, items: Iterator[Row | Reject]) -> tuple[Mapping[str, Any] | Reject, ...]:
        return tuple(item.record if isinstance(item, Row) else item for item in islice(items, self._rows))

    def _reading(self) -> SourceOptions:
        return SourceOptions.made(self._path, self._options)

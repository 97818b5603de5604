"""The reader of a source, by its format and options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent_persistence.bulk.columns import ImportTarget
from agent_persistence.bulk.csv_records import CsvReader
from agent_persistence.bulk.excel import sheet_records
from agent_persistence.bulk.json_array import array_items
from agent_persistence.bulk.json_lines import JsonReader
from agent_persistence.bulk.lines import text_chunks, text_lines
from agent_persistence.bulk.misfits import check_fits
from agent_persistence.bulk.opening import Opened
from agent_persistence.bulk.rejecting import Reader
from agent_persistence.bulk.settings import SourceOptions


def text_reader(reading: SourceOptions, opened: Opened, target: ImportTarget) -> Reader:
    """The rows of a CSV file, a spreadsheet, JSON lines or a JSON array.

    A source that is none of what the format says raises SourceError when its first row is asked for.
    """
    if reading.format == "excel":
        records = sheet_records(opened.file, reading.sheet, reading.dialect, reading.skip_lines)
        return CsvReader([], reading.dialect, reading.columns, target, spelling=reading.spelling, records=records)
    blocks = _fitting(opened.blocks(), str(reading.format))
    if reading.format == "json":
        return JsonReader(array_items(text_chunks(blocks, reading.encoding)), reading.columns, target)
    return line_reader(reading, text_lines(blocks, reading.encoding), target)


def line_reader(reading: SourceOptions, lines: Iterable[str], target: ImportTarget) -> Reader:
    """The rows of lines that have been read already, of CSV or of JSON."""
    if reading.format == "csv":
        return CsvReader(
            lines,
            reading.dialect,
            reading.columns,
            target,
            spelling=reading.spelling,
            skip_lines=reading.skip_lines,
        )
    return JsonReader(lines, reading.columns, target)


def _fitting(blocks: Iterator[bytes], format: str) -> Iterator[bytes]:
    first = next(blocks)
    check_fits(first, format)
    yield first
    yield from blocks

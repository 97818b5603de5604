"""Records of a spreadsheet: Excel's files, old and new, and OpenDocument's, read by calamine."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from importlib import import_module
from itertools import islice
from typing import IO, Any, Final

from agent_persistence._extras import command_for
from agent_persistence.bulk.csv_records import Dialect, Record
from agent_persistence.bulk.rows import SourceError
from agent_persistence.bulk.spelling import trimmed
from agent_persistence.exceptions import ConfigurationError

MAX_BYTES: Final = 1 << 28
_MIDNIGHT: Final = time()


def sheet_records(file: IO[bytes], sheet: str | None, dialect: Dialect, skip_lines: int = 0) -> Iterator[Record]:
    """The rows of the sheet, by default the first, from the header on: the number, the texts, as CSV and by cell.

    An empty cell is NULL, and so is a text of the dialect's nulls; a whole number is spelled without decimals, a date
    as ISO 8601. The workbook is in memory as a whole.
    """
    rows = _sheet(file, sheet).iter_rows()
    for number, row in islice(enumerate(rows, 1), skip_lines, None):
        texts = [text_of_cell(cell) for cell in row]
        if not any(texts):
            continue
        fields = [_field(text, dialect) for text in texts]
        yield number, _as_csv(texts, dialect.delimiter), fields, None


def sheet_names(file: IO[bytes]) -> list[str]:
    """The names of the workbook's sheets."""
    return list(_workbook(file).sheet_names)


def text_of_cell(cell: object) -> str:
    """The cell as a text of a CSV file."""
    match cell:
        case bool():
            return "true" if cell else "false"
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
        case datetime():
            return cell.date().isoformat() if cell.time() == _MIDNIGHT else cell.isoformat()
        case date() | time():
            return cell.isoformat()
        case timedelta():
            return f"{cell.total_seconds()} seconds"
    return str(cell)


def _field(text: str, dialect: Dialect) -> str | None:
    bare = trimmed(text) if dialect.trim else text
    return None if not bare or bare in dialect.nulls else bare


def _as_csv(texts: list[str], delimiter: str) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="").writerow(texts)
    return line.getvalue()


def _sheet(file: IO[bytes], name: str | None) -> Any:
    workbook = _workbook(file)
    names = list(workbook.sheet_names)
    if name is None and names:
        return workbook.get_sheet_by_index(0)
    if name not in names:
        raise ConfigurationError(f"the workbook has no sheet {name!r:.60}; it has {', '.join(map(repr, names))}")
    return workbook.get_sheet_by_name(name)


def _workbook(file: IO[bytes]) -> Any:
    try:
        calamine: Any = import_module("python_calamine")
    except ImportError as error:
        raise ConfigurationError(f"a spreadsheet needs python-calamine: {command_for('files')}") from error
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"the spreadsheet has more than {MAX_BYTES:,} bytes; save it as CSV")
    try:
        return calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise SourceError(f"the source is no spreadsheet that can be read, or has a password: {error}") from error

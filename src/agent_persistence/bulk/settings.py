"""What an import is asked to do, checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import TextIOBase
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from agent_persistence.bulk.columns import Columns, check_columns
from agent_persistence.bulk.csv_records import Dialect
from agent_persistence.bulk.lines import known_encoding
from agent_persistence.bulk.spelling import PLAIN, Spelling
from agent_persistence.exceptions import ConfigurationError, printable

Format: TypeAlias = Literal["csv", "jsonl", "json", "parquet", "excel"]
ReadAs: TypeAlias = Format | Literal["arrow"] | None
"""How a source is read: as a file, as a stream of Arrow batches, or as an iterable of records."""

_BY_SUFFIX: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
}
_FORMATS: Final = get_args(Format)
_TABULAR: Final = ("csv", "excel")
_HEAD_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is read; `format` is None for an iterable."""

    format: ReadAs
    columns: Columns
    dialect: Dialect
    encoding: str | None
    spelling: Spelling = PLAIN
    skip_lines: int = 0
    sheet: str | None = None

    @classmethod
    def of(
        cls,
        source: object,
        format: str | None,
        columns: Columns,
        delimiter: str | None,
        null: str | Sequence[str],
        encoding: str | None,
        spelling: Spelling = PLAIN,
        skip_lines: int = 0,
        sheet: str | None = None,
    ) -> SourceOptions:
        """The options, checked; what is not said of a path is taken from its ending."""
        chosen = _format(source, format)
        check_columns(columns, has_header=chosen in _TABULAR)
        if encoding is not None:
            encoding = known_encoding(encoding)
        is_tabbed = is_path(source) and _suffix(source) == ".tsv"
        nulls = (null,) if isinstance(null, str) else tuple(null) or ("",)
        parted = delimiter if delimiter is not None else "\t" if is_tabbed else ","
        dialect = Dialect(parted, nulls[0], nulls[1:], spelling.trim, spelling.quoted_null)
        dialect.check()
        spelling.check()
        if type(skip_lines) is not int or skip_lines < 0:
            raise ConfigurationError(f"skip_lines is a number of lines, not {skip_lines!r:.40}")
        return cls(chosen, columns, dialect, encoding, spelling, skip_lines, sheet)

    @classmethod
    def made(cls, source: object, options: Mapping[str, Any]) -> SourceOptions:
        """The options of these names, checked; those of others are left aside."""
        formats = options.get("date_format") or ()
        spelling = Spelling(
            decimal=options.get("decimal"),
            date_formats=(formats,) if isinstance(formats, str) else tuple(formats),
            list_separator=options.get("list_separator"),
            trim=bool(options.get("trim")),
            quoted_null=bool(options.get("quoted_null")),
            fill_defaults=bool(options.get("fill_defaults")),
        )
        null = options.get("null")
        return cls.of(
            source,
            options.get("format"),
            options.get("columns"),
            options.get("delimiter"),
            "" if null is None else null,
            options.get("encoding"),
            spelling,
            options.get("skip_lines") or 0,
            options.get("sheet"),
        )

    def as_json(self) -> dict[str, Any]:
        """The options as JSON."""
        columns = self.columns
        more = {**self.spelling.as_json(), "skip_lines": self.skip_lines, "sheet": self.sheet}
        return {
            "format": self.format,
            "columns": dict(columns) if isinstance(columns, Mapping) else columns and list(columns),
            "dialect": [self.dialect.delimiter, *self.dialect.nulls],
            "encoding": self.encoding,
            **{name: value for name, value in more.items() if value},
        }


def is_path(source: object) -> bool:
    return isinstance(source, (str, os.PathLike))


def is_file(source: object) -> bool:
    return callable(getattr(source, "read", None))


def format_of_name(path: Any) -> Format | None:
    """What the path's ending says; None where it says nothing."""
    return _BY_SUFFIX.get(_suffix(path))


def _suffix(source: Any) -> str:
    path = Path(source)
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def is_frame(source: object) -> bool:
    """Whether the source is a data frame or table of any library that speaks Arrow."""
    return hasattr(source, "__arrow_c_stream__")


def _format(source: object, format: str | None) -> ReadAs:
    if format is not None and format not in _FORMATS:
        raise ConfigurationError(f"format is one of {', '.join(_FORMATS)}, not {printable(format)}")
    if is_path(source):
        found = format or _BY_SUFFIX.get(_suffix(source))
        if found is None:
            endings = ", ".join(_BY_SUFFIX)
            raise ConfigurationError(
                f"the source's ending is none of {endings} (with .gz behind it, or without); say format="
            )
        return found  # type: ignore[return-value]
    if isinstance(source, TextIOBase):
        raise ConfigurationError("the source is open as text; open it in binary mode, open(path, 'rb')")
    if is_file(source):
        if format is None:
            raise ConfigurationError(f"a file object does not tell its format; say format={'|'.join(_FORMATS)}")
        return format  # type: ignore[return-value]
    if format is not None:
        raise ConfigurationError("format is for paths and file objects; an iterable gives records")
    if is_frame(source):
        return "arrow"
    is_iterable = hasattr(source, "__iter__") or hasattr(source, "__aiter__")
    if not is_iterable or isinstance(source, (bytes, bytearray, dict)) or hasattr(source, "to_records"):
        raise ConfigurationError(
            "source is a path, a file open in binary mode, or an iterable or async iterable of records,"
            f" not {type(source).__name__}"
        )
    return None


def source_identity(path: str | os.PathLike[str]) -> dict[str, Any]:
    """By what a file is known again: its size, when it was changed, and the hash of its beginning."""
    try:
        status = Path(path).stat()
        with Path(path).open("rb") as file:
            digest = sha256(file.read(_HEAD_BYTES)).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"the source {path} cannot be opened: {error.strerror}") from error
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "beginning": digest}


def names(option: str, given: object) -> tuple[str, ...] | None:
    """A list of columns as a tuple."""
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ConfigurationError(f"{option} is a list of column names, such as [{'email'!r}]")
    return tuple(given)


def key_text(given: object) -> str | None:
    if given is None or (isinstance(given, str) and given.strip()):
        return given
    raise ConfigurationError(f"key is a text that names the import, such as 'leads 2026-11-29', not {given!r:.40}")


def at_least_one(option: str, given: object) -> int:
    if type(given) is not int or given < 1:
        raise ConfigurationError(f"{option} is an int of at least 1, not {given!r:.40}")
    return given

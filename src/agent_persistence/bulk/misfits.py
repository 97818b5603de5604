"""What a source is by its first bytes, and the option that helps where it is none of what it is taken for. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from agent_persistence.bulk.rows import SourceError

Kind: TypeAlias = Literal["text", "json", "jsonl", "parquet", "excel", "html", "xml", "zip", "binary", "pdf"]

_MAGIC: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"PAR1", "parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "excel"),
    (b"%PDF-", "pdf"),
    (b"\x7fELF", "binary"),
    (b"\x89PNG", "binary"),
    (b"SQLite format 3\0", "binary"),
)
_HTML: Final = re.compile(rb"\s*(?:<!doctype html|<html|<table|<head|<meta|<body|<div)", re.IGNORECASE)
_SPREADSHEET: Final = (b"xl/", b"[Content_Types].xml", b"opendocument.spreadsheet", b"docProps/", b"_rels/")
_REMEDIES: Final[dict[str, str]] = {
    "excel": "a spreadsheet, whatever its name says: format='excel'",
    "parquet": "a Parquet file: format='parquet'",
    "html": "an HTML page, as some programs export under .xls or .csv: open it in a spreadsheet and save it as CSV",
    "xml": "an XML document: open it in a spreadsheet and save it as CSV",
    "pdf": "a PDF: export the table itself as CSV",
    "zip": "a zip archive: unpack it, and import the file that is in it",
    "json": "one JSON array, not one object a line: format='json'",
    "jsonl": "JSON, one object a line: format='jsonl'",
    "text": "a text",
    "binary": "a binary file, and none that can be read: export its table as CSV",
}


def kind_of(head: bytes) -> Kind:
    """What a file is whose first bytes are these."""
    for mark, kind in _MAGIC:
        if head.startswith(mark):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return "excel" if any(name in head for name in _SPREADSHEET) else "zip"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _HTML.match(start):
        return "html"
    if start.startswith(b"<?xml"):
        return "xml"
    return _kind_of_text(start)


def _kind_of_text(start: bytes) -> Kind:
    if re.match(rb"\[\s*(?:\{|\]|$)", start):
        return "json"
    if re.match(rb'\{\s*(?:"|\}|$)', start):
        return "jsonl"
    return "text"


def check_fits(head: bytes, format: str) -> None:
    """Refuse, as a SourceError, a source that is another thing than what it is read as."""
    kind = kind_of(head)
    fits = {"csv": ("text",), "jsonl": ("jsonl", "text"), "json": ("json", "text")}.get(format, (kind,))
    if kind not in fits:
        raise SourceError(f"the source is {_REMEDIES[kind]}")


def remedy(kind: Kind) -> str:
    """What a file of this kind is, and what can be done with it."""
    return _REMEDIES[kind]

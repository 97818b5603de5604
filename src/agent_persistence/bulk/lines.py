"""Lines of text out of blocks of bytes."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Final

from agent_persistence.bulk.rows import SourceError
from agent_persistence.exceptions import ConfigurationError, printable

MAX_LINE_BYTES: Final = 1 << 24
_FIRST_BYTES: Final = 1 << 16
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""A byte order mark and the encoding it names; that of UTF-32 begins as that of UTF-16 does."""


class Unreadable(str):
    """A line that is no text; `problem` says why. Bytes that could not be decoded are lone surrogates in it."""

    __slots__ = ("problem",)
    problem: str

    @classmethod
    def because(cls, problem: str, text: str = "") -> Unreadable:
        made = cls(text)
        made.problem = problem
        return made


def text_lines(blocks: Iterable[bytes], encoding: str | None = None, *, most: int = MAX_LINE_BYTES) -> Iterator[str]:
    """The lines without their "\\n"; those that cannot be decoded, or are longer than `most` bytes, as Unreadable.

    Without `encoding` a byte order mark decides, and where there is none it is UTF-8. The mark is left out. Where the
    first 64 KB hold a carriage return and no line feed, as old spreadsheets write, that is what ends a line.
    """
    encoding, blocks = _encoding_of(blocks, encoding)
    if not _has_plain_lines(encoding):
        encoding, blocks = "utf-8", _as_utf8(blocks, encoding)
    for lines in _whole_lines(_with_line_feeds(blocks), most):
        if isinstance(lines, Unreadable):
            yield lines
        else:
            yield from _decoded(lines, encoding)


def text_chunks(blocks: Iterable[bytes], encoding: str | None = None) -> Iterator[str]:
    """The text of the blocks, in the encoding that `text_lines` finds; SourceError for bytes that are none of it."""
    encoding, blocks = _encoding_of(blocks, encoding)
    for block in _as_utf8(blocks, encoding):
        yield block.decode()


def known_encoding(name: str) -> str:
    """The codec's own name; ConfigurationError for a name that is none of a text encoding."""
    try:
        codec = codecs.lookup(name)
        "".encode(codec.name)
    except (LookupError, TypeError, ValueError):
        raise ConfigurationError(f"encoding: {printable(name)} is none that Python knows") from None
    return "utf-8" if codec.name == "utf-8-sig" else codec.name


def _encoding_of(blocks: Iterable[bytes], encoding: str | None) -> tuple[str, Iterator[bytes]]:
    """The encoding, and the blocks without a mark of it, which a decoder of UTF-16 or UTF-32 takes away itself."""
    rest = iter(blocks)
    first = b""
    while len(first) < 4 and (more := next(rest, b"")):
        first += more
    marked = next(((mark, name) for mark, name in _MARKS if first.startswith(mark)), None)
    chosen = known_encoding(encoding) if encoding else marked[1] if marked else "utf-8"
    if chosen == "utf-8":
        first = first.removeprefix(codecs.BOM_UTF8)
    return chosen, _joined(first, rest)


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _with_line_feeds(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks; with line feeds where the first 64 KB hold carriage returns alone."""
    rest = iter(blocks)
    first = b""
    while b"\n" not in first and len(first) < _FIRST_BYTES and (more := next(rest, b"")):
        first += more
    if b"\n" in first or b"\r" not in first:
        yield from _joined(first, rest)
        return
    yield first.replace(b"\r", b"\n")
    for block in rest:
        yield block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _has_plain_lines(encoding: str) -> bool:
    """Whether a line end is the byte 10, and the byte 10 a line end."""
    try:
        return '\n,"a'.encode(encoding) == b'\n,"a' and not encoding.startswith(("utf-7", "utf_7"))
    except UnicodeError:
        return False


def _as_utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in blocks:
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", True).encode()
    except UnicodeError as error:
        raise SourceError(f"the source is not {encoding}: {getattr(error, 'reason', error)}") from error


def _whole_lines(blocks: Iterable[bytes], most: int) -> Iterator[bytes | Unreadable]:
    """Some lines at a time, each with its end; the last may have none."""
    rest = b""
    is_too_long = False
    for block in blocks:
        joined = rest + block
        if is_too_long:
            _, end, joined = joined.partition(b"\n")
            is_too_long = not end
        cut = joined.rfind(b"\n") + 1
        if cut:
            yield joined[:cut]
        rest = joined[cut:]
        if is_too_long:
            rest = b""
        elif len(rest) > most:
            yield Unreadable.because(f"the line is longer than {most:,} bytes")
            rest, is_too_long = b"", True
    if rest:
        yield rest


def _decoded(lines: bytes, encoding: str) -> Iterator[str]:
    try:
        text = lines.decode(encoding)
    except UnicodeError:
        for line in lines.removesuffix(b"\n").split(b"\n"):
            yield _decoded_line(line, encoding)
    else:
        yield from text.removesuffix("\n").split("\n")


def _decoded_line(line: bytes, encoding: str) -> str:
    try:
        return line.decode(encoding)
    except UnicodeError:
        return Unreadable.because(f"holds bytes that are not {encoding}", line.decode(encoding, "surrogateescape"))

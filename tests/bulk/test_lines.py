"""Lines of text out of bytes: encodings, marks, invalid bytes, lines without end."""

from __future__ import annotations

import codecs
import gzip
import io

import pytest

from agent_persistence import ConfigurationError
from agent_persistence.bulk.lines import Unreadable, known_encoding, text_lines
from agent_persistence.bulk.opening import Opened
from agent_persistence.bulk.rows import SourceError

TEXT = "naïve,€\n日本,b\n"
LINES = ["naïve,€", "日本,b"]


def split(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (TEXT.encode(), None),
        (TEXT.encode("utf-8-sig"), None),
        (TEXT.encode("utf-8-sig"), "utf-8"),
        (TEXT.encode("utf-16"), None),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), None),
        (TEXT.encode("utf-32"), None),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
    ],
    ids=str,
)
def test_a_byte_order_mark_tells_the_encoding(raw: bytes, encoding: str | None, size: int) -> None:
    """It is left out, wherever the blocks are cut; without one it is UTF-8."""
    assert list(text_lines(split(raw, size), encoding)) == LINES


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "gb18030", "euc-jp"])
def test_an_encoding_can_be_named(encoding: str) -> None:
    """Any that Python knows."""
    text = {"latin-1": "é", "cp1252": "€"}.get(encoding, "日本")
    assert list(text_lines([f"{text},a\nb".encode(encoding)], encoding)) == [f"{text},a", "b"]


@pytest.mark.parametrize("encoding", ["utf-9", "", "base64", "a\0b"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    """And so is a codec that is none of texts."""
    with pytest.raises(ConfigurationError, match="encoding"):
        known_encoding(encoding)


def test_invalid_bytes_spoil_one_line() -> None:
    """Which says so, and can be written down again as it was."""
    raw = b"a\nb\xff\xfe\nc\n"
    first, second, third = text_lines([raw])
    assert (first, third) == ("a", "c")
    assert isinstance(second, Unreadable)
    assert "not utf-8" in second.problem
    assert second.encode("utf-8", "surrogateescape") == b"b\xff\xfe"


def test_a_cut_off_utf_16_file_cannot_be_read() -> None:
    """Its lines cannot be told from each other any more."""
    with pytest.raises(SourceError, match="not utf-16"):
        list(text_lines([TEXT.encode("utf-16")[:-1]]))


@pytest.mark.parametrize("size", [1, 8, 64, 1000])
def test_a_line_without_end_is_passed_over(size: int) -> None:
    """It is told once, its bytes are not kept, and the next line is read."""
    found = list(text_lines(split(b"a\n" + b"x" * 500 + b"\nb\n", size), most=100))
    assert found[0] == "a"
    assert found[-1] == "b"
    if size < 1000:
        assert [line.problem for line in found if isinstance(line, Unreadable)] == ["the line is longer than 100 bytes"]


def test_gzip_is_known_by_its_first_bytes() -> None:
    """Whatever the file is called."""
    opened = Opened(io.BytesIO(gzip.compress(TEXT.encode())))
    assert list(text_lines(opened.blocks())) == LINES


def test_a_damaged_gzip_file_is_an_error() -> None:
    """No row is lost without a word."""
    packed = gzip.compress(TEXT.encode() * 1000)
    with pytest.raises(SourceError, match="gzip"):
        list(text_lines(Opened(io.BytesIO(packed[:-20])).blocks()))


def test_what_gives_text_is_refused() -> None:
    """Only bytes tell where they came from."""
    with pytest.raises(ConfigurationError, match="binary mode"):
        list(Opened(io.StringIO("a")).blocks())  # type: ignore[arg-type]

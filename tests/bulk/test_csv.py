"""CSV as PostgreSQL's COPY reads it: records, NULLs, quotes, headers; and what is no record."""

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import NULL, ColumnNotAllowedError, ConfigurationError, ValidationError
from agent_persistence.bulk.columns import Columns, ImportTarget
from agent_persistence.bulk.csv_records import CsvReader, Dialect, csv_records
from agent_persistence.bulk.lines import Unreadable, text_lines
from agent_persistence.bulk.rows import Row, SourceError
from agent_persistence.bulk.values import Reject
from agent_persistence.schema_registry import default_schema

LEADS = ImportTarget("leads", default_schema().columns("leads"), is_declared=True, writable=None)


COMMAS = Dialect()


def fields(text: str, dialect: Dialect = COMMAS) -> list[Any]:
    """Of every record the fields, or what is wrong with it."""
    return [problem or values for _, _, values, problem in csv_records(text_lines([text.encode()]), dialect)]


def items(text: str, columns: Columns = None, target: ImportTarget = LEADS) -> list[Any]:
    return list(CsvReader(text_lines([text.encode()]), Dialect(), columns, target))


def records(text: str, columns: Columns = None, target: ImportTarget = LEADS) -> list[dict[str, Any]]:
    return [item.record for item in items(text, columns, target) if isinstance(item, Row)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n", [["a", "b"]]),
        ("a,b", [["a", "b"]]),
        ("a,b\r\nc,d\r\n", [["a", "b"], ["c", "d"]]),
        ('"a","b"', [["a", "b"]]),
        ('"a,b",c', [["a,b", "c"]]),
        ('"a ""b""",c', [['a "b"', "c"]]),
        ('""""', [['"']]),
        ('"a\nb",c\nd,e', [["a\nb", "c"], ["d", "e"]]),
        ('"a\r\n\r\nb",c\r\nd,e', [["a\r\n\r\nb", "c"], ["d", "e"]]),
        ('"a\n""b""\n",c\nd,e', [['a\n"b"\n', "c"], ["d", "e"]]),
        ('x,"a\n,"\n"b\nc",y', [["x", "a\n,"], ["b\nc", "y"]]),
        ('5" pipe,b', [['5" pipe', "b"]]),
        (" a , b ", [[" a ", " b "]]),
        ("a\vb\x85c\u2028d,e", [["a\vb\x85c\u2028d", "e"]]),
    ],
)
def test_records_are_parted_as_rfc_4180_says(text: str, expected: list[list[str]]) -> None:
    """Line ends and delimiters within quotes belong to the field, doubled quotes are one."""
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,,c", ["a", None, "c"]),
        ('a,"",c', ["a", "", "c"]),
        (",", [None, None]),
        ('"",', ["", None]),
        (',""', [None, ""]),
        ('"x",,"",', ["x", None, "", None]),
    ],
)
def test_an_empty_field_is_null_and_an_empty_text_is_quoted(text: str, expected: list[str | None]) -> None:
    """That is how COPY tells them apart."""
    assert fields(text) == [expected]


def test_another_text_can_stand_for_null() -> None:
    r"""With null="\N" an empty field is the empty text, and only the unquoted \N is NULL."""
    assert fields('\\N,,"\\N",""', Dialect(null="\\N")) == [[None, "", "\\N", ""]]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "^", "]", "\\"])
def test_another_delimiter_parts_fields(delimiter: str) -> None:
    """Quoted ones may hold it, and a comma is then an ordinary character."""
    assert fields(f'a,b{delimiter}"c{delimiter}d"{delimiter}', Dialect(delimiter)) == [["a,b", f"c{delimiter}d", None]]


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r"])
def test_a_delimiter_that_could_not_be_told_is_refused(delimiter: str) -> None:
    """It is one character, neither quote nor line end."""
    with pytest.raises(ConfigurationError, match="delimiter"):
        Dialect(delimiter).check()


@pytest.mark.parametrize("null", [",", '"', "a\nb"])
def test_a_null_that_could_not_be_told_is_refused(null: str) -> None:
    """It holds no delimiter, quote or line end."""
    with pytest.raises(ConfigurationError, match="null"):
        Dialect(null=null).check()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('a,"b"c\n1,2', "behind a closing quote"),
        ('"a" ,b\n1,2', "behind a closing quote"),
    ],
)
def test_malformed_quotes_spoil_one_record(text: str, problem: str) -> None:
    """The next one is read as if nothing had happened."""
    first, second = fields(text)
    assert problem in first
    assert second == ["1", "2"]


def test_a_quote_that_is_never_closed_spoils_the_rest() -> None:
    """What would be a record behind it may be a part of the field: none is guessed."""
    assert fields('a,b\n"c,d\ne,f\n') == [["a", "b"], "a quoted field is not closed"]


def test_a_runaway_quote_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound the source cannot be read any further; the error names the line where the field begins."""
    monkeypatch.setattr("agent_persistence.bulk.csv_records.MAX_RECORD_CHARS", 100)
    with pytest.raises(SourceError, match="line 2: a quoted field is not closed within 100"):
        fields('a,b\n"c,d\n' + "e,f\n" * 50)


def test_a_record_is_known_by_the_line_it_begins_in() -> None:
    """Also behind records of several lines, and blank ones."""
    found = items('email,notes\na@x.io,"1\n2\n3"\n\nb@x.io,\n')
    assert [(item.line, item.raw) for item in found] == [(2, 'a@x.io,"1\n2\n3"'), (6, "b@x.io,")]


def test_texts_become_the_values_of_their_columns() -> None:
    """By the declared type; NULL is an explicit null, which is not stripped."""
    text = 'email,score,is_qualified,tags,custom\na@x.io,0.5,yes,{a},"{""b"": 1}"\nb@x.io,,,,\n'
    assert records(text) == [
        {"email": "a@x.io", "score": 0.5, "is_qualified": True, "tags": ["a"], "custom": {"b": 1}},
        {"email": "b@x.io", "score": NULL, "is_qualified": NULL, "tags": NULL, "custom": NULL},
    ]


def test_columns_that_are_not_declared_stay_text() -> None:
    """What they hold is the database's to say."""
    target = ImportTarget("things", {}, is_declared=False, writable=None)
    assert records("n,t\n1,x\n", target=target) == [{"n": "1", "t": "x"}]


def test_a_ragged_row_is_a_reject() -> None:
    """With its line, what is wrong, and the record as it stood there."""
    _, short, long = items("email,score\na@x.io,1\nb@x.io\nc@x.io,1,2\n")
    assert short == Reject(3, "1 field, where 2 belong", None, "b@x.io")
    assert long == Reject(4, "3 fields, where 2 belong", None, "c@x.io,1,2")


def test_a_text_that_is_no_value_of_its_column_is_a_reject() -> None:
    """Line and column are named; the reason does not repeat the text."""
    (reject,) = items("email,score\na@x.io,secret\n")
    assert (reject.line, reject.column, reject.record) == (2, "score", "a@x.io,secret")
    assert "secret" not in reject.reason


def test_a_list_of_columns_names_those_of_a_file_without_header() -> None:
    """Its first line is a row."""
    assert records("a@x.io,1\n", ["email", "score"]) == [{"email": "a@x.io", "score": 1}]


def test_a_mapping_renames_columns_and_leaves_them_out() -> None:
    """The other ones keep their names."""
    mapping = {"E-Mail": "email", "internal": None}
    assert records("E-Mail,internal,company\na@x.io,x,A\n", mapping) == [{"email": "a@x.io", "company": "A"}]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("emial\n", None, r"no column 'emial': did you mean 'email'\?"),
        ("email,email\n", None, "'email' is there twice"),
        ("email,\n", None, "column 2 of the header has no name"),
        ("a,b\n", {"a": "email", "b": "email"}, "'email' is there twice"),
        ("email\n", {"emial": "email"}, r"renames 'emial', which the header does not have: did you mean 'email'\?"),
        ("email\n", {"email": None}, "no column that is kept"),
    ],
)
def test_a_wrong_header_is_refused_before_any_row(text: str, columns: Columns, message: str) -> None:
    """And says how to mend it."""
    with pytest.raises(ValidationError, match=message):
        items(text + "a@x.io,1\n", columns)


def test_a_header_names_only_columns_that_the_policy_lets_be_written() -> None:
    """As every write does."""
    target = ImportTarget("leads", {}, is_declared=False, writable=frozenset({"email"}))
    with pytest.raises(ColumnNotAllowedError, match="score"):
        items("email,score\na@x.io,1\n", target=target)


def test_a_header_of_another_kind_of_names_is_refused() -> None:
    """The guard would refuse every row; here it is said once, with the remedy."""
    target = ImportTarget("things", {}, is_declared=False, writable=None)
    with pytest.raises(ColumnNotAllowedError, match="columns= renames it"):
        items("E-Mail\na@x.io\n", target=target)
    assert records("E-Mail\na@x.io\n", {"E-Mail": "email"}, target) == [{"email": "a@x.io"}]


def test_blank_lines_are_left_out_where_there_are_several_columns() -> None:
    """In front of the header, between rows and at the end."""
    text = "\n\nemail,company\n\r\n\na@x.io,A\n\n"
    assert records(text) == [{"email": "a@x.io", "company": "A"}]


@pytest.mark.parametrize("columns", [None, ["email"]], ids=["header", "no header"])
def test_a_blank_line_is_a_row_where_there_is_one_column(columns: Columns) -> None:
    """As COPY reads it: the empty field, which is NULL."""
    text = f"{'' if columns else 'email'}\na@x.io\n\r\nb@x.io\n"
    assert [row["email"] for row in records(text, columns)][-3:] == ["a@x.io", NULL, "b@x.io"]


def test_a_file_with_a_header_alone_has_no_rows() -> None:
    """That is no fault; a file without one is."""
    assert items("email\n") == []
    for text in ("", "\n\r\n"):
        with pytest.raises(SourceError, match="no header"):
            items(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("email,company\na@x.io,A\nemail,company\nb@x.io,B\n", [3]),
        ("email,company\r\na@x.io,A\r\n\ufeffemail,company\r\n", [3]),
        ('email,company\n"email",company\n', []),
        ("email\nemail\n", [2]),
        ('reject_line,reject_reason,email\n7,"was, wrong",email\n8,x,a@x.io\n', [2]),
    ],
)
def test_a_header_that_is_repeated_is_a_reject(text: str, expected: list[int]) -> None:
    """As in files that were put together. A row that happens to be spelled so is told by a quote."""
    rejects = [item for item in items(text) if isinstance(item, Reject)]
    assert [reject.line for reject in rejects] == expected
    assert all("repeats the header" in reject.reason for reject in rejects)


def test_a_line_that_is_too_long_is_a_reject_where_blank_ones_are_left_out() -> None:
    """It holds no text any more, but it was a record."""
    lines = iter(["email,company", Unreadable.because("the line is longer than 9 bytes"), ""])
    (found,) = CsvReader(lines, Dialect(), None, LEADS)
    assert (found.line, getattr(found, "reason", "")) == (2, "the line is longer than 9 bytes")


def test_marks_of_a_rejects_file_are_left_out() -> None:
    """So that a mended file can be imported."""
    text = 'reject_line,reject_reason,email\n7,"was, wrong",a@x.io\n'
    assert records(text) == [{"email": "a@x.io"}]

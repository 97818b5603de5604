"""`query` shows rows through the policy, in memory and from the real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import LEADS
from tests.cli.program import in_terminal, ran
from tests.server import LocalServer


def _memory(rows: Path, *more: str) -> tuple[str, ...]:
    return ("query", "leads", "--kind", "memory", "--rows", str(rows), *more)


def test_rows_are_filtered_sorted_and_projected(rows: Path) -> None:
    """As the verbs of a façade do it."""
    found = ran(*_memory(rows, "--where", "status=new", "--order-by", "-email", "--select", "email,score", "--json"))
    assert found.document["rows"] == [
        {"email": "cy@example.net", "score": None},
        {"email": "ada@example.org", "score": 0.9},
    ]


def test_conditions_compare_numbers_as_numbers(rows: Path) -> None:
    """0.5 is not above 0.9, though the text would be shorter."""
    found = ran(*_memory(rows, "--where", "score>=0.6", "--json"))
    assert [row["email"] for row in found.document["rows"]] == ["ada@example.org"]


def test_a_count_is_a_number(rows: Path) -> None:
    """Alone on stdout, for shells."""
    assert ran(*_memory(rows, "--count", "--where", "status=new")).out == "2\n"
    assert ran(*_memory(rows, "--count", "--json")).document["count"] == 3


def test_more_rows_than_shown_are_told(rows: Path) -> None:
    """In the document, and on stderr."""
    found = ran(*_memory(rows, "--limit", "2", "--json"))
    assert (len(found.document["rows"]), found.document["more"]) == (2, True)
    assert ran(*_memory(rows, "--limit", "3", "--json")).document["more"] is False
    assert "more rows match" in ran(*_memory(rows, "--limit", "2")).err


def test_an_offset_passes_rows_over(rows: Path) -> None:
    """With an order that is told."""
    found = ran(*_memory(rows, "--offset", "1", "--limit", "1", "--order-by", "email", "--json"))
    assert [row["email"] for row in found.document["rows"]] == ["bob@example.org"]


def test_a_limit_of_all_the_policy_allows_is_no_more_than_that(rows: Path, tmp_path: Path) -> None:
    """The row beyond the limit, which tells that there are more, is not asked for then."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\nmax_rows = 2\n')
    found = ran(*_memory(rows, "--limit", "2", "--policy", "policy.toml"))
    assert found.status == 0
    refused = ran(*_memory(rows, "--limit", "3", "--policy", "policy.toml"))
    assert refused.status == 5
    assert "max_rows" in refused.err


def test_columns_that_the_policy_hides_stay_hidden(rows: Path, tmp_path: Path) -> None:
    """The command has no way round the guard."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\n[columns]\nleads = ["id", "status"]\n')
    found = ran(*_memory(rows, "--policy", "policy.toml", "--json"))
    assert {name for row in found.document["rows"] for name in row} == {"id", "status"}
    refused = ran(*_memory(rows, "--policy", "policy.toml", "--where", "email=ada@example.org"))
    assert refused.status == 5


def test_a_pipe_gets_whole_lines(rows: Path) -> None:
    """A table whose cells are neither cut nor broken, and no escape sequence."""
    lines = ran(*_memory(rows, "--select", "id,email,status", "--order-by", "email")).out.splitlines()
    assert [line.split() for line in lines[2:]] == [[row["id"], row["email"], row["status"]] for row in LEADS]
    assert not any("\x1b" in line or line.endswith(" ") for line in lines)


def test_a_terminal_too_narrow_for_a_table_gets_rows_one_below_the_other(rows: Path) -> None:
    """Nothing is cut off."""
    shown = in_terminal(*_memory(rows, "--limit", "1", "--order-by", "email"), columns=60)
    assert "row 1" in shown
    assert "00000000-0000-0000-0000-000000000001" in shown


def test_what_a_terminal_would_obey_is_shown_as_an_escape(tmp_path: Path) -> None:
    """A row may hold the title of the reader's window, or worse."""
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"leads": [{"id": LEADS[0]["id"], "email": "\x1b]0;owned\x07[red]x[/red]"}]}))
    shown = in_terminal(*_memory(path))
    assert "\x1b]0;" not in shown
    assert "\\x1b]0;owned\\x07[red]x[/red]" in shown


@pytest.mark.parametrize("text", ['{"leads": 5}', '{"leads": [5]}', "[]", "{", "\xff"])
def test_a_file_of_rows_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    """With its name."""
    path = tmp_path / "wrong.json"
    path.write_text(text)
    ended = ran(*_memory(path))
    assert ended.status == 3
    assert "Traceback" not in ended.err


def test_rows_of_the_real_server(project: LocalServer) -> None:
    """Through HTTP, with a filter that the server reads."""
    project.execute("insert into leads (email, status, score) values ('a@x.org', 'new', 1.5), ('b@x.org', 'won', 0.2)")
    found = ran("query", "leads", "--where", "score>=0.5", "--select", "email,score", "--json")
    assert found.document["rows"] == [{"email": "a@x.org", "score": 1.5}]
    assert ran("query", "leads", "--count").out == "2\n"


def test_a_column_that_the_server_lacks_is_its_refusal(project: LocalServer) -> None:
    """6, with the server's guess."""
    ended = ran("query", "leads", "--where", "scoree=1")
    assert ended.status == 6
    assert "scoree does not exist" in ended.err

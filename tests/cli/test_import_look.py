"""`import` looks at the file first, and says with which options it fits."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from agent_persistence.cli.columns_option import read_columns, written_columns
from agent_persistence.cli.looking import in_words_of_the_command
from agent_persistence.schema_registry import default_schema
from agent_persistence.sync import create_persistence_agent
from tests.bulk.people_files import FILES, PeopleFile
from tests.cli.program import in_terminal, ran

MEMORY = ("--kind", "memory")
EXPORT = 'All leads;;\nE-Mail;"Name, first";Score\nada@a.example;Ada;1,5\nbob@b.example;Bob;\n'


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "an export.csv"
    path.write_text(EXPORT)
    return path


def stored() -> list[tuple[str, object]]:
    """The leads of the shared store of kind memory."""
    with create_persistence_agent("memory") as agent:
        return [(row["email"], row["score"]) for row in agent.query("leads", order_by="email")]


def test_a_file_that_fits_with_options_is_not_imported_without_them(export: Path) -> None:
    ended = ran("import", "leads", export, *MEMORY)
    assert ended.status == 1
    for words in ("--delimiter ';'", "--skip-lines 1", "--decimal ,", "left out: 'Name, first'", "ada@a.example"):
        assert words in ended.out
    assert "nothing is imported" in ended.err
    assert stored() == []


def test_the_command_that_is_told_imports_it(export: Path) -> None:
    command = ran("import", "leads", export, *MEMORY, "--json").document["look"]["command"]
    program, *arguments = shlex.split(command)
    assert program == "agent-persistence"
    assert ran(*arguments).status == 0
    assert stored() == [("ada@a.example", 1.5), ("bob@b.example", None)]


def test_what_is_found_is_taken_if_asked(export: Path) -> None:
    assert ran("import", "leads", export, *MEMORY, "--guess").status == 0
    assert stored() == [("ada@a.example", 1.5), ("bob@b.example", None)]


def test_a_dry_run_goes_over_the_whole_file_with_what_is_found(export: Path) -> None:
    ended = ran("import", "leads", export, *MEMORY, "--dry-run", "--json")
    assert (ended.status, ended.document["rows"], ended.document["dry_run"]) == (1, 2, True)
    assert set(ended.document["look"]["found"]) == {"columns", "decimal", "delimiter", "skip_lines"}
    assert stored() == []


def test_on_a_terminal_it_is_a_dry_run(export: Path) -> None:
    shown = in_terminal("import", "leads", export, *MEMORY, columns=120)
    assert "2 rows would go in" in shown
    assert "--skip-lines" in shown


def test_options_that_are_given_are_not_guessed_again(export: Path) -> None:
    given = ("--delimiter", ";", "--skip-lines", "1", "--columns", 'E-Mail=email,"Name, first"=first_name')
    assert ran("import", "leads", export, *MEMORY, *given).status == 0
    with create_persistence_agent("memory") as agent:
        assert agent.read("leads", "ada@a.example", "email")["first_name"] == "Ada"  # type: ignore[index]


def test_headings_that_are_not_named_are_left_out_unless_there_is_a_star(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Mail,company\nada@a.example,Engines\n")
    assert ran("import", "leads", path, *MEMORY, "--columns", "Mail=email").status == 0
    path.write_text("Mail,company\nbob@b.example,Pumps\n")
    assert ran("import", "leads", path, *MEMORY, "--columns", "Mail=email,*").status == 0
    with create_persistence_agent("memory") as agent:
        assert [row["company"] for row in agent.query("leads", order_by="email")] == [None, "Pumps"]


@pytest.mark.parametrize(
    "columns",
    [{"a": "b", "*": None}, {"a, b": "c", 'say "x"': "d", "e=f": "g", "*": None}, {"a": "b"}, ["x", "y"]],
)
def test_the_option_columns_reads_what_it_writes(columns: dict[str, str | None] | list[str]) -> None:
    assert read_columns(written_columns(columns)) == columns


@pytest.mark.parametrize("file", [file for file in FILES if file.refused], ids=lambda file: file.name)
def test_what_is_refused_is_told_in_the_words_of_the_command_line(file: PeopleFile, tmp_path: Path) -> None:
    path = tmp_path / file.name
    path.write_bytes(file.content)
    schema = tmp_path / "schema.toml"
    default_schema().to_file(schema)
    policy = tmp_path / "policy.toml"
    policy.write_text('read = ["leads", "clients", "campaigns"]\nwrite = ["leads", "clients", "campaigns"]\n')
    ended = ran("import", file.table, path, *MEMORY, "--policy", policy, "--schema", schema, "--json")
    assert ended.status == 3
    assert ended.document["look"]["problems"]
    assert in_words_of_the_command(file.refused) in ended.document["error"]["message"]
    assert "={" not in ended.document["error"]["message"]
    assert "='" not in ended.document["error"]["message"]


def test_a_spreadsheet_goes_in(tmp_path: Path) -> None:
    book = next(file for file in FILES if file.name == "book.xlsx")
    (tmp_path / "book.xlsx").write_bytes(book.content)
    assert ran("import", "leads", tmp_path / "book.xlsx", *MEMORY).status == 0
    assert len(stored()) == 2

"""Files as people have them go in with what a look at them finds, or are refused with the option that helps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_persistence import ConfigurationError, TablePolicy, ValidationError
from agent_persistence.bulk import FileLook, ImportStoppedError, Reject, bulk_import, look_at
from agent_persistence.policy import BUSINESS_TABLES
from agent_persistence.schema_registry import default_schema
from agent_persistence.service import AsyncPersistenceService
from tests.bulk.imports import service
from tests.bulk.people_files import FILES, PeopleFile

pytestmark = pytest.mark.anyio
ALL = TablePolicy(read=BUSINESS_TABLES, write=BUSINESS_TABLES)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def made(file: PeopleFile, directory: Path) -> Path:
    path = directory / file.name
    path.write_bytes(file.content)
    return path


async def looked(file: PeopleFile, directory: Path) -> tuple[AsyncPersistenceService, Path, FileLook]:
    target, path = service(policy=ALL, schema=default_schema()), made(file, directory)
    given: dict[str, Any] = dict(file.given)
    return target, path, await look_at(target, file.table, path, **given)


def ids(file: PeopleFile) -> str:
    return file.name


def test_there_are_sixty_files_each_of_a_name() -> None:
    assert len({file.name for file in FILES}) == len(FILES) >= 60


@pytest.mark.parametrize("file", [file for file in FILES if not file.refused], ids=ids)
async def test_a_file_goes_in_with_what_a_look_finds(file: PeopleFile, tmp_path: Path) -> None:
    target, path, look = await looked(file, tmp_path)
    assert look.problems == ()
    assert sorted(look.found) == sorted(file.finds)
    rejects: list[Reject] = []
    report = await bulk_import(target, file.table, path, rejects=rejects.append, **look.options)
    rows = await target.query(file.table)
    assert report.rows == len(rows) == len(file.rows)
    for row, expected in zip(rows, file.rows, strict=True):
        assert {name: row[name] for name in expected} == expected
    assert len(rejects) == len(file.rejects)
    assert all(words in str(reject) for words, reject in zip(file.rejects, rejects, strict=True))


@pytest.mark.parametrize("file", [file for file in FILES if file.refused], ids=ids)
async def test_a_file_that_cannot_be_understood_is_refused_with_what_helps(file: PeopleFile, tmp_path: Path) -> None:
    _, _, look = await looked(file, tmp_path)
    assert file.refused in "\n".join(look.problems)
    assert not look.fits
    assert look.rows == ()


@pytest.mark.parametrize("file", [file for file in FILES if file.rows and not file.rejects], ids=ids)
async def test_the_first_rows_are_shown_as_they_are_stored(file: PeopleFile, tmp_path: Path) -> None:
    _, _, look = await looked(file, tmp_path)
    assert len(look.rows) == min(len(file.rows), 5)
    assert not any(isinstance(row, Reject) for row in look.rows)


async def test_of_a_table_that_is_not_declared_headings_that_could_be_columns_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("email,nickname,Shoe Size\nada@a.example,Ada,38\n")
    look = await look_at(service(policy=ALL), "leads", path)
    assert look.options["columns"] == {"email": "email", "nickname": "nickname", "*": None}
    assert look.left_out == ("Shoe Size",)


async def test_a_file_that_is_not_there_is_a_problem_of_the_look(tmp_path: Path) -> None:
    look = await look_at(service(policy=ALL), "leads", tmp_path / "none.csv")
    assert "cannot be opened" in look.problems[0]


async def test_a_mended_file_of_rejects_fits_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text('reject_line,reject_reason,email,score\n3,"score is a number",ada@a.example,1\n')
    assert (await look_at(service(policy=ALL, schema=default_schema()), "leads", path)).fits


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_json_lines_of_which_the_first_is_broken_are_json_lines(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "leads.jsonl"
    path.write_text('oops\n{"email": "ada@a.example"}\n', encoding=encoding)
    assert (await look_at(service(policy=ALL, schema=default_schema()), "leads", path)).fits


async def test_a_format_that_is_given_and_wrong_is_a_problem(tmp_path: Path) -> None:
    book = next(file for file in FILES if file.name == "book.xlsx")
    (tmp_path / "book.xlsx").write_bytes(book.content)
    look = await look_at(service(policy=ALL), "leads", tmp_path / "book.xlsx", format="csv")
    assert "format='excel'" in look.problems[0]
    with pytest.raises(ImportStoppedError, match="format='excel'"):
        await bulk_import(service(policy=ALL), "leads", tmp_path / "book.xlsx", format="csv")


async def test_all_that_is_wrong_with_the_headings_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("E-Mail,First Name,score\nada@a.example,Ada,1\n")
    with pytest.raises(ValidationError, match="'E-Mail'; no column 'First Name'"):
        await bulk_import(service(policy=ALL), "leads", path)


async def test_a_heading_of_figures_does_not_make_the_header_a_row(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("email,score,2026\nada@a.example,1,x\n")
    look = await look_at(service(policy=ALL, schema=default_schema()), "leads", path)
    assert (look.problems, look.left_out) == ((), ("2026",))


async def test_blanks_in_a_few_texts_are_part_of_them(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("email,notes\nada@a.example,a note \nbob@b.example,b\n")
    assert (await look_at(service(policy=ALL, schema=default_schema()), "leads", path)).fits
    path.write_text("email,score\nada@a.example, 1\n")
    assert "trim" in (await look_at(service(policy=ALL, schema=default_schema()), "leads", path)).found


async def test_what_is_spelled_otherwise_is_remembered_by_a_journal(tmp_path: Path) -> None:
    path, journal = tmp_path / "clients.csv", tmp_path / "journal"
    path.write_text("name;budget\nAcme;1,5\n")
    target = service(policy=ALL)
    await bulk_import(target, "clients", path, delimiter=";", decimal=",", resume=journal)
    with pytest.raises(ConfigurationError, match="decimal differ"):
        await bulk_import(target, "clients", path, delimiter=";", resume=journal)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": ";"}, "decimal is"),
        ({"date_format": "dd.mm.yyyy"}, "date_format is one such as"),
        ({"skip_lines": -1}, "skip_lines is a number"),
        ({"null": ["", "a,b"]}, "null is the text"),
        ({"list_separator": ""}, "list_separator is"),
    ],
)
async def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: Any, message: str) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("email\na@a.example\n")
    with pytest.raises(ConfigurationError, match=message):
        await bulk_import(service(policy=ALL), "leads", path, **options)


async def test_a_long_array_in_one_line_is_looked_at_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "leads.json"
    path.write_text(json.dumps([{"email": f"é{number}@a.example", "notes": "x" * 100} for number in range(3_000)]))
    target = service(policy=ALL, schema=default_schema())
    assert (await look_at(target, "leads", path)).fits
    assert (await bulk_import(target, "leads", path)).rows == 3_000

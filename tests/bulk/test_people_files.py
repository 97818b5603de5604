"""Files as people have them go in with what a look at them finds, or are refused with the option that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_persistence import TablePolicy
from agent_persistence.bulk import FileLook, Reject, bulk_import, look_at
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

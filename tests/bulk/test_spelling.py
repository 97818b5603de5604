"""How files spell numbers, dates and lists."""

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence.bulk.encodings import found_encoding
from agent_persistence.bulk.headings import matches, plain
from agent_persistence.bulk.json_array import array_items
from agent_persistence.bulk.rows import SourceError
from agent_persistence.bulk.spelling import DecimalMark, Spelling, spelled_number


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("1.234,50", ",", "1234.50"),
        ("-12,5", ",", "-12.5"),
        ("1 234,5", ",", "1234.5"),
        ("1\u202f234", ",", "1234"),
        ("€ 12,00", ",", "12.00"),
        ("1,234.50", ".", "1234.50"),
        ("$1,234", ".", "1234"),
        ("1'234.5", ".", "1234.5"),
        ("12", ".", "12"),
        ("1,23,4", ".", None),
        ("1.23,4", ",", None),
        ("1.234.567,8", ",", "1234567.8"),
        ("1.234 567,8", ",", None),
        ("12 apples", ".", None),
    ],
)
def test_a_number_is_read_by_its_decimal_mark(text: str, mark: DecimalMark, number: str | None) -> None:
    assert spelled_number(text, mark) == number


@pytest.mark.parametrize(
    ("spelling", "type_name", "text", "value"),
    [
        (Spelling(decimal=","), "numeric", "1.234,5", 1234.5),
        (Spelling(decimal=","), "integer", "12,0", 12),
        (Spelling(date_formats=("%d.%m.%Y",)), "date", "31.01.2026", "2026-01-31"),
        (Spelling(date_formats=("%d.%m.%Y",)), "date", "2026-01-31", "2026-01-31"),
        (
            Spelling(date_formats=("%d.%m.%Y", "%d.%m.%Y %H:%M")),
            "timestamptz",
            "31.01.2026 09:15",
            "2026-01-31T09:15:00",
        ),
        (Spelling(list_separator=";"), "text[]", "a; b;;c", ["a", "b", "c"]),
        (Spelling(list_separator=";"), "text[]", "{a,b}", ["a", "b"]),
        (Spelling(list_separator=";", decimal=","), "numeric[]", "1,5; 2", [1.5, 2]),
    ],
)
def test_a_text_becomes_a_value_by_the_spelling(spelling: Spelling, type_name: str, text: str, value: Any) -> None:
    convert = spelling.converter(type_name)
    assert convert is not None
    assert convert(text) == value


@pytest.mark.parametrize(
    ("spelling", "type_name", "text"),
    [
        (Spelling(decimal=","), "numeric", "1,234.5"),
        (Spelling(decimal=","), "integer", "12,5"),
        (Spelling(date_formats=("%d.%m.%Y",)), "date", "01/31/2026"),
        (Spelling(date_formats=("%d.%m.%Y %H:%M",)), "date", "31.01.2026 09:15"),
    ],
)
def test_a_text_that_is_none_by_the_spelling_is_refused(spelling: Spelling, type_name: str, text: str) -> None:
    convert = spelling.converter(type_name)
    assert convert is not None
    with pytest.raises(ValueError, match="is "):
        convert(text)


def test_headings_mean_columns_by_their_words() -> None:
    assert [plain(heading) for heading in ("First Name", "createdAt", "E-Mail!", "Größe (m²)")] == [
        "first_name",
        "created_at",
        "e_mail",
        "groesse_m2",
    ]


def test_no_column_is_meant_twice_and_its_own_name_goes_first() -> None:
    found = matches(["Work Email", "email", "Mobile", "Phone"], ["email", "phone"])
    assert found == {"email": "email", "Phone": "phone"}


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("name\nMüller, Köln\n", "utf-8", None),
        ("name\nMüller, Köln\n", "cp1252", "cp1252"),
        ("name\nJosé 5 €\n", "cp1252", "cp1252"),
        ("name\nMüller\n", "utf-16-le", "utf-16-le"),
        ("name\nMüller\n", "utf-16-be", "utf-16-be"),
        ("imię;miasto\nŁukasz;Łódź\nŻaneta;Kraków\n", "cp1250", "cp1250"),
        ("Имя;Город\nИван;Москва\nМария;Казань\nСергей;Тверь\n", "cp1251", "cp1251"),
    ],
)
def test_an_encoding_is_told_by_its_bytes(text: str, encoding: str, found: str | None) -> None:
    told = found_encoding(text.encode(encoding), is_whole=True)
    assert told is not None
    assert (told.name, told.is_guessed) == (found, found is not None)


def test_a_text_that_is_cut_within_a_character_is_utf_8() -> None:
    told = found_encoding("größe".encode()[:3], is_whole=False)
    assert told is not None
    assert told.name is None


@pytest.mark.parametrize(
    ("lines", "items"),
    [
        (["[]"], []),
        (['[{"a": 1}, {"b": [2]}]'], ['{"a": 1}', '{"b": [2]}']),
        (["[", '  {"a":\n', "   1},", ' "x, y", 1', "2", "]"], ['{"a":    1}', '"x, y"', "12"]),
    ],
)
def test_the_items_of_an_array_come_one_by_one(lines: list[str], items: list[str]) -> None:
    assert list(array_items(lines)) == items


@pytest.mark.parametrize("lines", [["[1, 2"], ['[{"a": 1} {'], ["{}"], ["[nonsense]"]])
def test_an_array_that_is_cut_off_or_none_is_refused(lines: list[str]) -> None:
    with pytest.raises(SourceError, match="JSON array"):
        list(array_items(lines))

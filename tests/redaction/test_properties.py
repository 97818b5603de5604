"""Rules that hold for any text and any JSON."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Final

import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence.redaction import (
    Redaction,
    allow,
    drop,
    generalize,
    mask,
    pseudonymize,
    redact,
    scan,
)

KEY: Final = b"0123456789abcdef"
EVERYTHING: Final = Redaction(
    {
        "leads": {
            "name": redact("person"),
            "email": redact("email"),
            "phone": mask("phone"),
            "account": pseudonymize("account"),
            "born": generalize(date="year"),
            "income": generalize(step=10_000),
            "zip": generalize(prefix=2),
            "ip": generalize(network=True),
            "secret": drop("secret"),
            "notes": scan(),
            "custom": scan(),
        },
        "messages": {"content": scan()},
    },
    key=KEY,
)
COLUMNS: Final = [*EVERYTHING.columns["leads"], "undeclared"]

SENTINELS: Final = {
    "email": "jane.roe@mail.example",
    "iban": "DE89 3704 0044 0532 0130 00",
    "card": "4111 1111 1111 1111",
    "ip": "203.0.113.77",
    "phone": "+44 20 7946 0112",
    "credential": "sk-" + "FAKEfake" * 4,
}
FRAGMENTS: Final = st.sampled_from(
    [
        *SENTINELS.values(),
        "[EMAIL_1]",
        "[PERSON_2]",
        "[EMAIL]",
        "Ann Roe",
        "ANN",
        "roe",
        "+",
        "@",
        "0049",
        "password: ",
        "token=",
        "://",
        "hunter2",
        "x",
        " ",
        "-",
    ]
)
ANY_TEXT: Final = st.text(st.characters(exclude_categories=()), max_size=40)
TEXTS: Final = st.lists(st.one_of(ANY_TEXT, FRAGMENTS), max_size=8).map("".join)
JSON: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
ROWS: Final = st.lists(st.dictionaries(st.sampled_from(COLUMNS), JSON, max_size=len(COLUMNS)), max_size=3)


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_any_rows_are_redacted_and_hold_json_as_before(rows: list[dict[str, Any]]) -> None:
    """Nothing raises, lone surrogates, control characters and numbers without an end included."""
    for row in EVERYTHING.session().rows("leads", rows):
        json.dumps(row)


@given(ROWS, TEXTS)
@settings(max_examples=60, deadline=None)
def test_redacting_again_changes_nothing(rows: list[dict[str, Any]], text: str) -> None:
    """Neither in the same session nor in another: what is redacted is not found a second time."""
    redactor = EVERYTHING.session()
    tables = {"leads": rows, "messages": [{"content": text}]}
    once = redactor.tables(tables)
    assert json.dumps(redactor.tables(once)) == json.dumps(once)
    assert json.dumps(EVERYTHING.session().tables(once)) == json.dumps(once)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_rows_redacted_one_by_one_stay_as_they_are_when_redacted_again(rows: list[dict[str, Any]]) -> None:
    """What labels without numbers replaced is not found a second time."""
    for row in rows:
        once = EVERYTHING.row("leads", row)
        assert json.dumps(EVERYTHING.row("leads", once)) == json.dumps(once)


@given(st.lists(TEXTS, max_size=4))
@settings(max_examples=50, deadline=None)
def test_equal_texts_give_equal_texts(texts: list[str]) -> None:
    """Nothing depends on chance, on the clock or on what other sessions did."""
    first, second = EVERYTHING.session(), EVERYTHING.session()
    assert [first.text(text) for text in texts] == [second.text(text) for text in texts]


_AROUND: Final = st.text(st.characters(categories=["Lo", "Zs", "Po", "Ps", "Pe"], exclude_characters="§"), max_size=12)
"""Without the sign of sections, after which four numbers with dots are no address."""


@pytest.mark.parametrize("kind", SENTINELS)
@given(before=_AROUND, after=_AROUND)
@settings(max_examples=50, deadline=None)
def test_a_detectable_value_does_not_survive_in_any_text(kind: str, before: str, after: str) -> None:
    """Whatever stands before and after it, in a text, a list, an object, or as a key of one."""
    value = SENTINELS[kind]
    text = f"{before} {value} {after}"
    told = {"content": [text, {text: {text: text}}]}
    assert value not in json.dumps(EVERYTHING.session().row("messages", told), ensure_ascii=False)


SCRIPTS: Final = {
    "Latin": (0x61, 0x24F), "Greek": (0x370, 0x3FF), "Cyrillic": (0x400, 0x52F), "Armenian": (0x531, 0x58A),
    "Hebrew": (0x591, 0x5F4), "Arabic": (0x610, 0x6FF), "Syriac": (0x710, 0x74F), "Thaana": (0x780, 0x7B1),
    "Devanagari": (0x900, 0x97F), "Bengali": (0x980, 0x9FE), "Gurmukhi": (0xA01, 0xA76), "Gujarati": (0xA81, 0xAF1),
    "Tamil": (0xB82, 0xBFA), "Telugu": (0xC00, 0xC7F), "Kannada": (0xC80, 0xCF2), "Malayalam": (0xD00, 0xD7F),
    "Sinhala": (0xD82, 0xDF4), "Thai": (0xE01, 0xE5B), "Lao": (0xE81, 0xEDF), "Tibetan": (0xF00, 0xFDA),
    "Myanmar": (0x1000, 0x109F), "Georgian": (0x10A0, 0x10FF), "Ethiopic": (0x1200, 0x139F), "Khmer": (0x1780, 0x17F9),
    "kana": (0x3041, 0x30FA), "Han": (0x4E00, 0x9FFF), "Hangul": (0xAC00, 0xD7A3), "Vai": (0xA500, 0xA62B),
}  # fmt: skip


def _is_plain_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM" and unicodedata.is_normalized("NFKC", character)


def _words(script: str) -> st.SearchStrategy[str]:
    """Letters of the script, each with or without marks such as signs of vowels."""
    characters = [*filter(_is_plain_letter, map(chr, range(SCRIPTS[script][0], SCRIPTS[script][1] + 1)))]
    letters = [character for character in characters if unicodedata.category(character)[0] == "L"]
    marks = [character for character in characters if unicodedata.category(character)[0] == "M"]
    syllable = st.tuples(st.sampled_from(letters), st.sampled_from(["", *marks])).map("".join)
    return st.lists(syllable, min_size=2, max_size=8).map("".join)


@pytest.mark.parametrize("script", SCRIPTS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_an_email_address_of_any_script_is_found_as_a_whole(script: str, data: st.DataObject) -> None:
    """Local part and domain with vowel signs and accents; the domain ends in letters of the script or in ASCII."""
    word = _words(script)
    local, host = data.draw(word), data.draw(word)
    top = data.draw(st.one_of(word, st.sampled_from(["jp", "example", "xn--h2brj9c"])))
    joined = data.draw(st.sampled_from(["", ".7", "_1", "-b"])) if script == "Latin" else ""
    address = f"{local}{joined}@{host}.{top}"
    assert EVERYTHING.session().text(f"{address}, {address}") == "[EMAIL_1], [EMAIL_1]"
    assert EVERYTHING.session().text(f"({address})") == "([EMAIL_1])"


NAMES: Final = st.text(st.characters(categories=["Lu", "Ll", "Lo"]), min_size=3, max_size=12)


@given(name=NAMES, before=_AROUND, after=_AROUND)
@settings(max_examples=80, deadline=None)
def test_a_known_value_does_not_survive_in_any_other_text(name: str, before: str, after: str) -> None:
    """A name of a row is found in every other row, also in capitals, wherever no letter is next to it."""
    rows = {"leads": [{"name": name}], "messages": [{"content": f"{before} {name}, {name.upper()}! {after}"}]}
    content = EVERYTHING.session().tables(rows)["messages"][0]["content"]
    assert f" {name}," not in content
    assert f", {name.upper()}!" not in content


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in ("notes", "custom", "zip")])
@given(st.text(min_size=6, max_size=30))
@settings(max_examples=25, deadline=None)
def test_no_value_of_a_redacted_column_survives(column: str, value: str) -> None:
    """Whatever it is, it is not in the row that comes out, be it text, in a list or in an object."""
    sentinel = f"Zq{value}qZ"
    row = EVERYTHING.session().row("leads", {column: [sentinel, {"key": sentinel}]})
    assert sentinel not in json.dumps(row, ensure_ascii=False)


def test_what_is_allowed_does_survive() -> None:
    """Control of the rules above: they can fail."""
    allowing = Redaction({"messages": {"content": allow()}})
    for value in SENTINELS.values():
        assert allowing.row("messages", {"content": value}) == {"content": value}

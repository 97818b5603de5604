"""What a redaction does with columns, and what it refuses to be made of."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any, Final

import pytest

from agent_persistence import ConfigurationError, Schema
from agent_persistence.redaction import (
    Action,
    Emails,
    Finding,
    Redaction,
    allow,
    drop,
    generalize,
    mask,
    pseudonymize,
    redact,
    scan,
)
from agent_persistence.schema_registry import Column, Table

KEY: Final = "a key of sixteen bytes or more"


def _shown(action: Action, value: Any) -> Any:
    return Redaction({"leads": {"column": action}}, key=KEY).row("leads", {"column": value}).get("column", "dropped")


@pytest.mark.parametrize(
    ("action", "value", "shown"),
    [
        (allow(), "jane@mail.example", "jane@mail.example"),
        (drop(), "jane@mail.example", "dropped"),
        (drop("email"), None, "dropped"),
        (redact(), "secret", "[VALUE]"),
        (redact("email"), "jane@mail.example", "[EMAIL]"),
        (redact("age"), 42, "[AGE]"),
        (redact("email"), None, None),
        (redact("email"), "", ""),
        (redact("email"), ["a", None, {"b": "c"}], ["[EMAIL]", None, {"b": "[EMAIL]"}]),
        (mask(), "4111111111111111", "************1111"),
        (mask(), "12345", "***45"),
        (mask(), "1", "*"),
        (mask(keep_last=0), "12345", "*****"),
        (mask(), 4111111111111111, "************1111"),
        (generalize(step=10_000), 96_000.5, "90000 to 100000"),
        (generalize(step=10_000), "-1", "-10000 to 0"),
        (generalize(step=0.5), 1.75, "1.5 to 2.0"),
        (generalize(step=10), "90 to 100", "90 to 100"),
        (generalize(step=10), "nan", "[VALUE]"),
        (generalize(step=10), "1e999999", "[VALUE]"),
        (generalize(step=10), "ninety", "[VALUE]"),
        (generalize(date="month"), "2026-03-02T07:10:33+00:00", "2026-03"),
        (generalize(date="month"), "2026-03", "2026-03"),
        (generalize(date="year"), "2026-03-02", "2026"),
        (generalize(date="year"), "2 March", "[VALUE]"),
        (generalize(prefix=2), "10115", "10***"),
        (generalize(prefix=5), "10115", "*****"),
        (generalize(network=True), "203.0.113.77", "203.0.113.0/24"),
        (generalize(network=True), "10.0.0.0/8", "10.0.0.0/8"),
        (generalize(network=True), "2001:db8:1:2::3", "2001:db8:1::/48"),
        (generalize(network=True), "999.0.0.1", "[VALUE]"),
        (scan(), "to jane@mail.example", "to [EMAIL]"),
        (scan(), {"jane@mail.example": [{"x": "203.0.113.77"}]}, {"[EMAIL]": [{"x": "[IP]"}]}),
        (scan(), {"a@b.co": 1, "c@d.co": 2}, {"[EMAIL]": 1, "[EMAIL] (2)": 2}),
        (scan(), 4111111111111111, "[CARD]"),
        (scan(), 42, 42),
        (scan(), True, True),
        (scan(), {"phone": "79460112", "order": "79460112"}, {"phone": "[PHONE]", "order": "79460112"}),
    ],
    ids=str,
)
def test_an_action_shows_a_value_as_its_docstring_says(action: Action, value: Any, shown: Any) -> None:
    """Also in lists and objects; null and empty texts stay; what cannot be generalised is replaced."""
    assert _shown(action, value) == shown
    assert shown == "dropped" or _shown(action, shown) == shown


def test_a_pseudonym_is_a_keyed_hash_of_the_kind_and_the_normalised_value() -> None:
    """Equal spellings have one, another key or kind gives another, and none is made twice."""
    redaction = Redaction({"leads": {"email": pseudonymize("email")}}, key=KEY)
    one = redaction.row("leads", {"email": "Jane@Mail.example"})["email"]
    assert one == redaction.pseudonym("email", " jane@mail.example ") == redaction.pseudonym("email", one)
    assert one.startswith("email_")
    assert len(one) == len("email_") + 32
    assert one != redaction.pseudonym("person", "jane@mail.example")
    assert one != Redaction({}, key=KEY + "!").pseudonym("email", "jane@mail.example")
    assert redaction.pseudonym("phone", "+44 20 7946-0112") == redaction.pseudonym("phone", "0044 2079460112")


def test_what_looks_like_a_pseudonym_and_was_not_made_with_the_key_is_hashed_too() -> None:
    """Nobody can pass a value through by writing it in that form."""
    forged = "email_" + "41111111111111110000000000000000"
    assert Redaction({}, key=KEY).pseudonym("email", forged) != forged


def test_in_texts_kinds_that_a_column_pseudonymizes_are_pseudonymised_too() -> None:
    """So that an address in a message can be matched with the column."""
    redaction = Redaction({"leads": {"email": pseudonymize("email"), "notes": scan()}}, key=KEY)
    row = redaction.row("leads", {"email": "jane@mail.example", "notes": "mail JANE@mail.example, 203.0.113.77"})
    assert row["notes"] == f"mail {row['email']}, [IP]"


def test_columns_and_tables_that_are_not_named_are_dropped_unless_unknown_says_otherwise() -> None:
    """Default deny."""
    row = {"email": "jane@mail.example", "plan": "pro"}
    assert Redaction({"leads": {"plan": allow()}}).row("leads", row) == {"plan": "pro"}
    assert Redaction({}).row("clients", row) == {}
    assert Redaction({}, unknown=scan()).row("clients", row) == {"email": "[EMAIL]", "plan": "pro"}


def test_the_default_redaction_follows_the_tags_and_types_of_the_schema() -> None:
    """Tagged columns are labelled, texts scanned, numbers and times allowed, bytes and unknown columns dropped."""
    columns = {
        "id": Column("uuid"),
        "name": Column("text", pii="name"),
        "born": Column("date", pii="Date of birth"),
        "host": Column("inet"),
        "notes": Column("text"),
        "tags": Column("text[]"),
        "custom": Column("jsonb"),
        "status": Column("text", one_of=("new", "won")),
        "score": Column("numeric(4,2)"),
        "photo": Column("bytea"),
        "mood": Column("mood"),
    }
    redaction = Redaction.default(Schema({"people": Table(columns)}))
    assert {name: redaction.action("people", name) for name in [*columns, "more"]} == {
        "id": allow(),
        "name": redact("person"),
        "born": redact("date_of_birth"),
        "host": redact("ip"),
        "notes": scan(),
        "tags": scan(),
        "custom": scan(),
        "status": allow(),
        "score": allow(),
        "photo": drop(),
        "mood": scan(),
        "more": drop(),
    }
    assert Redaction.default(Schema({"people": Table(columns)}), key=KEY).action("people", "name") == pseudonymize(
        "person"
    )


def test_without_a_schema_the_default_redaction_knows_the_eight_tables() -> None:
    """Leads have names, addresses and telephone numbers."""
    columns = Redaction.default().columns
    assert set(columns) == set(Schema.default().tables)
    assert [str(columns["leads"][name].kind) for name in ("email", "first_name", "last_name", "phone")] == [
        "email", "person", "person", "phone",
    ]  # fmt: skip


class _Plain:
    kinds = ("city",)

    def find(self, text: str) -> Iterator[Finding]:
        start = text.find("Paris")
        if start >= 0:
            yield Finding("city", start, start + 99)


class _Wrong(_Plain):
    kinds = ("town",)


def test_a_detector_of_the_callers_own_is_asked_like_the_others() -> None:
    """It sees the folded text; a place beyond the end is cut; a kind it did not announce is refused."""
    redaction = Redaction({}, detectors=[Emails(), _Plain()])
    assert redaction.session().text("a@b.co in Ｐａｒｉｓ") == "[EMAIL_1] in [CITY_1]"
    with pytest.raises(ConfigurationError, match="_Wrong found 'city'"):
        Redaction({}, detectors=[_Wrong()]).session().text("in Paris")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": [("leads", {})]}, "columns is a mapping"),
        ({"columns": {"Leads": {}}}, "no name of a table"),
        ({"columns": {"leads": ["email"]}}, "mapping of column to action"),
        ({"columns": {"leads": {1: allow()}}}, "no name of a column"),
        ({"columns": {"leads": {"email": "redact"}}}, r"leads.*email.*: write redact\(\)"),
        ({"columns": {"leads": {"email": redact}}}, r"write redact\(\)"),
        ({"columns": {"leads": {"email": "hide"}}}, r"no action; actions are allow\(\), drop\(\)"),
        ({"columns": {"leads": {"email": None}}}, "no action"),
        ({"columns": {}, "unknown": "drop"}, r"unknown: write drop\(\)"),
        ({"columns": {}, "detectors": Emails()}, "detectors is a list"),
        ({"columns": {}, "detectors": [Emails]}, "no object with find"),
        ({"columns": {}, "detectors": ["email"]}, "no object with find"),
        ({"columns": {"leads": {"email": pseudonymize("email")}}}, "pseudonymize needs key="),
        ({"columns": {}, "key": "short"}, "key has 5 bytes and needs 16"),
        ({"columns": {}, "key": 12}, "key is a str or bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_work_is_refused_when_the_redaction_is_made(options: dict[str, Any], message: str) -> None:
    """The message says where it stands and how it is written."""
    with pytest.raises(ConfigurationError, match=message):
        Redaction(**options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: redact("E-Mail"),
        lambda: redact(""),
        lambda: drop("E"),
        lambda: pseudonymize("1"),
        lambda: mask("A b"),
        lambda: mask(keep_last=-1),
        lambda: mask(keep_last=True),
        lambda: generalize(),
        lambda: generalize(step=10, prefix=2),
        lambda: generalize(step=0),
        lambda: generalize(step=float("nan")),
        lambda: generalize(date="week"),
        lambda: generalize(prefix=0),
    ],
)
def test_options_that_an_action_does_not_have_are_refused(make: Any) -> None:
    """When the action is made, before any row is seen."""
    with pytest.raises(ConfigurationError):
        make()


def test_a_redaction_is_frozen_and_later_edits_of_what_was_passed_in_change_nothing() -> None:
    """Nobody widens it after it was checked."""
    columns: dict[str, dict[str, Action]] = {"leads": {"email": redact("email")}}
    redaction = Redaction(columns)
    columns["leads"]["email"] = allow()
    columns["clients"] = {}
    assert redaction.action("leads", "email") == redact("email")
    assert list(redaction.columns) == ["leads"]
    with pytest.raises(FrozenInstanceError):
        redaction.unknown = allow()  # type: ignore[misc]
    with pytest.raises(TypeError):
        redaction.columns["leads"]["email"] = allow()  # type: ignore[index]


def test_the_key_is_in_no_repr_and_no_pickle() -> None:
    """A copy in the same process shares it."""
    redaction = Redaction({"leads": {"email": pseudonymize("email")}}, key=KEY)
    assert KEY not in repr(redaction) + repr(redaction._pseudonyms) + str(getattr(redaction, "key", ""))
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(redaction)
    assert copy.copy(redaction).pseudonym("email", "a") == redaction.pseudonym("email", "a")


def test_a_pseudonym_without_a_key_is_refused() -> None:
    """No key is made up: it would be another one in the next process."""
    with pytest.raises(ConfigurationError, match="key="):
        Redaction({}).pseudonym("email", "a")

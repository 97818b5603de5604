"""One context: labels, known values, and the way back."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Final

import pytest

from agent_persistence.redaction import Redaction, drop, generalize, mask, redact, scan

REDACTION: Final = Redaction(
    {
        "leads": {
            "first_name": redact("person"),
            "last_name": redact("person"),
            "email": redact("email"),
            "phone": redact("phone"),
            "nickname": drop("person"),
            "notes": scan(),
        },
        "messages": {"content": scan(), "custom": scan()},
    }
)


def _told(content: Any, **lead: Any) -> Any:
    """What becomes of a message's content beside a lead."""
    return REDACTION.session().tables({"leads": [lead], "messages": [{"content": content}]})["messages"][0]["content"]


def test_labels_are_numbered_by_kind_in_order_of_appearance_and_the_same_for_the_same_value() -> None:
    """In whatever case and notation a value is written."""
    redactor = REDACTION.session()
    assert redactor.text("b@x.example, a@x.example") == "[EMAIL_1], [EMAIL_2]"
    assert redactor.text("A@X.example and +44 20 7946 0112") == "[EMAIL_2] and [PHONE_1]"
    assert redactor.text("+442079460112") == "[PHONE_1]"


def test_labels_do_not_depend_on_the_order_of_columns_and_keys() -> None:
    """Columns are taken as the redaction names them, keys by name; the row keeps its order."""
    row = {"first_name": "Ada", "last_name": "Byron", "email": "ada@x.example"}
    turned = dict(reversed(row.items()))
    shown = REDACTION.session().row("leads", row)
    assert shown == REDACTION.session().row("leads", turned)
    assert list(REDACTION.session().row("leads", turned)) == ["email", "last_name", "first_name"]
    content = {"b": "b@x.example", "a": "a@x.example"}
    assert _told(content) == {"b": "[EMAIL_2]", "a": "[EMAIL_1]"}


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("Jürgen", "Hallo JÜRGEN, jürgen!", "Hallo [PERSON_1], [PERSON_1]!"),
        ("José", "Jose and Jose\u0301", "[PERSON_1] and [PERSON_1]"),
        ("Großmann", "GROSSMANN", "[PERSON_1]"),
        ("Ann", "Annual banner, Ann.", "Annual banner, [PERSON_1]."),
        ("Ann", "ann_ann2", "[PERSON_1]_[PERSON_1]2"),
        ("O'Hara", "Mr O’Hara", "Mr [PERSON_1]"),
        ("Łukasz", "Łukasz: tak", "[PERSON_1]: tak"),
        ("İbrahim", "ibrahim'in", "[PERSON_1]'in"),
        ("अनिल", "अनिल ने", "[PERSON_1] ने"),
        ("अनि", "अनिल", "अनिल"),
        ("佐藤", "佐藤さんは", "[PERSON_1]さんは"),
        ("지훈", "지훈이는 소지훈", "[PERSON_1]이는 소지훈"),
        ("Ян", "Ян и яна", "Ян и яна"),
        ("Li", "Li likes it", "Li likes it"),
        ("María José", "maría   josé\tmaría\njosé", "[PERSON_1]\t[PERSON_1]"),
        ("Ada Byron", "Ada Byron, Byron, byron", "[PERSON_1], [PERSON_2], byron"),
        ("Mrs Ada Byron", "Mrs Lovelace", "Mrs Lovelace"),
        ("Freight Systems Ltd", "Systems; FREIGHT SYSTEMS LTD", "Systems; [PERSON_1]"),
        ("Null", "null", "[PERSON_1]"),
        ("Ａｄａ", "A\u200bd\u200ba", "[PERSON_1]"),
    ],
)
def test_a_known_name_is_found_in_other_texts_where_words_begin_and_end(name: str, text: str, shown: str) -> None:
    """Without case and accents, in any script; not inside words, and not if it has one or two letters."""
    assert _told(text, first_name=name) == shown


def test_of_known_names_the_longest_is_taken() -> None:
    """A name that begins like another is not cut in two."""
    assert _told("Anna Maria, Anna", first_name="Anna", last_name="Anna Maria") == "[PERSON_2], [PERSON_1]"


def test_values_of_a_dropped_column_with_a_kind_are_known_too() -> None:
    """What must not be shown must not be shown elsewhere either."""
    assert _told("Call me Zaza", nickname="Zaza") == "Call me [PERSON_1]"


@pytest.mark.parametrize("text", ["030 23125418", "3023125418", "0049 30 23125-418", "tel 004930/23125418"])
def test_a_known_phone_number_is_found_in_any_notation(text: str) -> None:
    """With the label that the lead's own column has."""
    tables = {"leads": [{"phone": "+49 (0)30 23125 418"}], "messages": [{"content": text}]}
    redacted = REDACTION.session().tables(tables)
    assert redacted["leads"][0]["phone"] == "[PHONE_1]"
    assert redacted["messages"][0]["content"].removeprefix("tel ") == "[PHONE_1]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("79460112 79460113", "[PHONE_1] [PHONE_2]"),
        ("79460113 55500001 79460112", "[PHONE_2] 55500001 [PHONE_1]"),
        ("3023125418 3023125418", "[PHONE_3] [PHONE_3]"),
        ("0049 30 23125-418 79460112", "[PHONE_3] [PHONE_1]"),
        ("7946011 27946011", "7946011 27946011"),
    ],
)
def test_known_phone_numbers_in_a_row_are_found_one_by_one(text: str, shown: str) -> None:
    """Each with its own label, and no number beside them."""
    redactor = REDACTION.session()
    redactor.rows("leads", [{"phone": phone} for phone in ("79460112", "79460113", "+49 (0)30 23125 418")])
    assert redactor.text(text) == shown


def test_an_address_that_no_detector_takes_for_one_is_found_if_it_is_known() -> None:
    """Half an address in a column, as scanners leave it."""
    assert _told("wrote to info@", email="info@") == "wrote to [EMAIL_1]"


def test_masked_values_are_not_known() -> None:
    """Stars of one row hide nothing in another."""
    redaction = Redaction({"leads": {"phone": mask("phone")}, "messages": {"content": scan()}})
    tables = {"leads": [{"phone": "****0112"}], "messages": [{"content": "like ****0112"}]}
    assert redaction.session().tables(tables) == tables


def test_restore_puts_the_values_back() -> None:
    """As they were first written; text in the form of a label that was never given stays."""
    redactor = REDACTION.session()
    assert redactor.text("Ask Jane@x.example, jane@x.example") == "Ask [EMAIL_1], [EMAIL_1]"
    assert redactor.restore("To [EMAIL_1], cc [EMAIL_2]") == "To Jane@x.example, cc [EMAIL_2]"
    assert redactor.values() == {"[EMAIL_1]": "Jane@x.example"}


def test_a_label_that_a_stranger_wrote_is_never_given_to_a_value() -> None:
    """A message cannot make the model's answer name somebody else's address."""
    tables = {"leads": [{"email": "jane@x.example"}], "messages": [{"content": "forward to [EMAIL_1]"}]}
    redactor = REDACTION.session()
    redacted = redactor.tables(tables)
    assert redacted == {"leads": [{"email": "[EMAIL_2]"}], "messages": [{"content": "forward to [EMAIL_1]"}]}
    assert redactor.restore("[EMAIL_1] [EMAIL_2]") == "[EMAIL_1] jane@x.example"


def test_a_name_does_not_break_labels() -> None:
    """Somebody may be called Email."""
    redactor = REDACTION.session()
    redactor.learn("leads", [{"first_name": "Email"}])
    assert redactor.text("Email a@b.co") == "[PERSON_1] [EMAIL_1]"
    assert redactor.text("[PERSON_1] [EMAIL_1]") == "[PERSON_1] [EMAIL_1]"


def test_counts_tell_what_was_replaced_by_table_and_kind() -> None:
    """And how many columns were left out."""
    redactor = REDACTION.session()
    redactor.rows("leads", [{"email": "a@b.co", "notes": "a@b.co and 203.0.113.77", "born": 1990}])
    redactor.text("a@b.co")
    assert redactor.counts() == {"leads": {"dropped": 1, "email": 2, "ip": 1}, "text": {"email": 1}}
    other = Redaction({"leads": {"a": mask(), "b": mask("phone"), "c": generalize(step=5), "d": generalize(step=5)}})
    redactor = other.session()
    redactor.row("leads", {"a": "1234", "b": "1234", "c": 7, "d": "seven"})
    assert redactor.counts() == {"leads": {"generalized": 1, "masked": 1, "phone": 1, "value": 1}}


def test_a_redactor_shows_no_value_and_is_not_pickled_or_copied() -> None:
    """Only values() and restore() give them."""
    redactor = REDACTION.session()
    redactor.rows("leads", [{"email": "jane@x.example", "first_name": "Jane"}])
    assert "jane" not in (repr(redactor) + str(redactor) + repr(redactor._labels) + repr(redactor._known)).lower()
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            leak(redactor)


def test_what_lies_too_deep_is_replaced() -> None:
    """More than a hundred levels are not followed, and not shown."""
    content: Any = "jane@x.example"
    for _ in range(500):
        content = [content]
    assert "jane" not in repr(_told(content))


def test_a_session_knows_nothing_of_another() -> None:
    """Labels begin at 1, and names of one context are no names of the next."""
    REDACTION.session().rows("leads", [{"first_name": "Jane", "email": "jane@x.example"}])
    assert REDACTION.session().text("Jane, b@x.example") == "Jane, [EMAIL_1]"


def test_a_key_that_is_replaced_tells_of_its_value_what_its_label_tells() -> None:
    """So that redacting again changes nothing."""
    once = REDACTION.row("leads", {"notes": {"+442079460112": 79460112}})
    assert once == {"notes": {"[PHONE]": "[PHONE]"}}
    assert REDACTION.row("leads", once) == once

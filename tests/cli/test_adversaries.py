"""Whatever a command is given, it ends with a status and a message: never with a traceback, never with a hang."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import typer
from hypothesis import example, given, settings, strategies as st

from agent_persistence.cli.conditions import NAMES, parse_conditions, parse_orders
from agent_persistence.cli.doctor.differences import same_type
from agent_persistence.cli.doctor.environment import host
from agent_persistence.cli.doctor.keys import key_checks, read_key
from agent_persistence.cli.doctor.reach import clock_check
from agent_persistence.cli.hiding import hidden
from agent_persistence.cli.screen import plain
from agent_persistence.cli.status import Status
from agent_persistence.filters import parse_filters
from agent_persistence.schema_registry import default_schema
from tests.cli.program import ran

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SCHEMA = default_schema()
COLUMNS = st.sampled_from(["score", "tags", "custom", "status", "is_qualified", "custom->>role", "nope"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.builds("{}.{}={}".format, COLUMNS, st.sampled_from(NAMES), st.text(max_size=20)))
@example("score.in=[")
@example("score.in=[[1]]")
@example('tags.contains="x"')
@example("score=1e999999999")
@example("score.in=" + "[" * 10_000)
def test_a_condition_is_a_filter_or_a_wrong_call(told: str) -> None:
    """Nothing else comes of it."""
    with contextlib.suppress(typer.BadParameter):
        parsed = parse_conditions("leads", [told], SCHEMA)
        assert parse_filters("leads", parsed) is not None


@given(st.text(max_size=40))
def test_an_order_is_a_list_of_columns(told: str) -> None:
    """Which the guard judges."""
    orders = parse_orders(told)
    assert orders is None or all(order.column == order.column.strip() for order in orders)


@settings(deadline=None)
@given(st.text(max_size=60) | st.builds("{}.{}.{}".format, st.text(), st.text(), st.text()))
def test_a_key_is_of_some_kind(key: str) -> None:
    """And is not told."""
    messages = [check.message for check in key_checks(read_key(key), "https://a.supabase.co", NOW)]
    assert messages


@given(st.text(max_size=60))
def test_texts_of_others_are_read_or_told_to_be_none(text: str) -> None:
    """A URL, a date, a type."""
    assert host(text)
    assert clock_check(text, NOW).message
    assert same_type(text, text)


@given(st.text(), st.text(min_size=6).filter(str.strip))
def test_a_secret_is_hidden_wherever_it_stands(before: str, secret: str) -> None:
    """Whatever surrounds it."""
    environ = {"SUPABASE_KEY": secret}
    assert secret.strip() not in hidden(f"{before}{secret}", environ) or len(secret.strip()) < 6 or "*" in secret


@given(st.text())
def test_a_shown_text_has_no_character_that_a_terminal_obeys(text: str) -> None:
    """But line ends and tabs."""
    assert all(c.isprintable() or c in "\n\t" for c in plain(text))


@settings(max_examples=60, deadline=None)
@given(JSON)
def test_any_json_is_a_snapshot_or_is_refused(document: object) -> None:
    """By `metrics`; a number that is none is refused as well."""
    ended = ran("metrics", "--json", stdin=json.dumps(document))
    assert ended.status in (Status.FINE, Status.CONFIGURATION)
    assert json.loads(ended.out)["status"] == ended.status

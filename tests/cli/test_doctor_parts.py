"""What doctor reads without asking anybody: keys, clocks, differences of tables, and how findings are shown."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from agent_persistence.cli.checks import Area, Check, Level, counted, has_problems, remedies, shown_checks
from agent_persistence.cli.doctor.differences import differences, same_described_type, same_type
from agent_persistence.cli.doctor.environment import environment, host
from agent_persistence.cli.doctor.keys import key_checks, read_key
from agent_persistence.cli.doctor.reach import clock_check
from agent_persistence.cli.doctor.statements import enable_security, grant, quoted
from agent_persistence.schema_registry import Column, Table

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
URL = "https://abcdefgh.supabase.co"


def _jwt(**claims: Any) -> str:
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, {})
    )


def _expiring(**after: float) -> str:
    return _jwt(role="anon", exp=(NOW + timedelta(**after)).timestamp())


@pytest.mark.parametrize(
    ("key", "kind", "role"),
    [
        ("sb_publishable_x", "publishable", "anon"),
        ("sb_secret_x", "secret", "service_role"),
        (_jwt(role="service_role"), "legacy JWT", "service_role"),
        (_jwt(role="anon"), "legacy JWT", "anon"),
        (_jwt(role=5), "legacy JWT", None),
        (_jwt(), "legacy JWT", None),
        ("", "unknown", None),
        ("a.b.c", "unknown", None),
        ("a.é.c", "unknown", None),
        (".".join(["x", base64.urlsafe_b64encode(b"[1]").decode(), "x"]), "unknown", None),
    ],
)
def test_the_kind_and_role_are_read_from_the_key(key: str, kind: str, role: str | None) -> None:
    """Whatever it is; nothing is verified."""
    read = read_key(key)
    assert (read.kind, read.role) == (kind, role)


@pytest.mark.parametrize(
    ("key", "levels", "message"),
    [
        ("sb_publishable_x", [Level.NOTE], "row-level security decides"),
        ("sb_secret_x", [Level.NOTE], "bypasses row-level security"),
        ("what", [Level.PROBLEM], "neither sb_publishable_"),
        (_jwt(role="anon"), [Level.NOTE, Level.NOTE], "never expires"),
        (_expiring(days=-1), [Level.NOTE, Level.PROBLEM], "expired on 2026-11-22"),
        (_expiring(days=10), [Level.NOTE, Level.NOTE], "expires on 2026-12-03"),
        (_expiring(days=400), [Level.NOTE, Level.OK], "expires on 2027-12-28"),
        (_jwt(exp=1e30), [Level.NOTE, Level.NOTE], "no calendar"),
        (_jwt(exp=True), [Level.NOTE, Level.NOTE], "never expires"),
        (_jwt(ref="abcdefgh", exp=4102444800), [Level.NOTE, Level.OK], "no role"),
        (_jwt(ref="other", exp=4102444800), [Level.NOTE, Level.OK, Level.PROBLEM], "of another project"),
    ],
)
def test_what_is_to_be_known_of_a_key(key: str, levels: list[Level], message: str) -> None:
    """Its power, its end, and whether it belongs to the URL."""
    checks = list(key_checks(read_key(key), URL, NOW))
    assert [check.level for check in checks] == levels
    assert any(message in check.message for check in checks)


def test_a_project_behind_a_domain_of_its_own_is_not_compared() -> None:
    """Only hosted names tell the project."""
    checks = list(key_checks(read_key(_jwt(ref="other", exp=4102444800)), "https://api.example.org", NOW))
    assert not has_problems(checks)


@pytest.mark.parametrize(
    ("date", "level", "message"),
    [
        ("Mon, 23 Nov 2026 12:00:00 GMT", Level.OK, "agrees"),
        ("Mon, 23 Nov 2026 11:59:58 GMT", Level.OK, "agrees"),
        ("Mon, 23 Nov 2026 11:59:40 GMT", Level.NOTE, "20 s ahead of"),
        ("Mon, 23 Nov 2026 12:00:30 GMT", Level.NOTE, "30 s behind"),
        ("Mon, 23 Nov 2026 13:00:00 GMT", Level.PROBLEM, "3,600 s behind"),
        ("Sun, 22 Nov 2026 12:00:00 GMT", Level.PROBLEM, "86,400 s ahead of"),
        (None, Level.UNCHECKED, "no Date"),
        ("yesterday", Level.UNCHECKED, "no Date"),
    ],
)
def test_the_clock_is_compared_with_the_servers(date: str | None, level: Level, message: str) -> None:
    """Up to two seconds are the header's own, up to thirty are tolerated."""
    check = clock_check(date, NOW)
    assert (check.level, message in check.message) == (level, True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("int4", "integer", True),
        ("bigint", "int8", True),
        ("numeric(12,2)", "numeric", True),
        ("numeric(12,2)", "numeric(12, 2)", True),
        ("numeric(12,2)", "numeric(10,2)", False),
        ("timestamptz", "timestamp with time zone", True),
        ("timestamp", "timestamptz", False),
        ("text[]", "_text", True),
        ("int4[]", "integer[]", True),
        ("text[]", "text", False),
        ("varchar(5)", "character varying(5)", True),
        ("TEXT", "text", True),
        ("any", "odd.mood", True),
        ("jsonb", "json", False),
        ("boolean", "bool", True),
    ],
)
def test_types_are_the_same_by_any_name(one: str, other: str, same: bool) -> None:
    """Either way round."""
    assert same_type(one, other) is same_type(other, one) is same


@pytest.mark.parametrize(
    ("declared", "described", "same"),
    [
        ("smallint", "integer", True),
        ("int2", "integer", True),
        ("integer", "integer", True),
        ("integer", "smallint", False),
        ("smallint", "bigint", False),
        ("bigint", "integer", False),
        ("smallint[]", "integer[]", False),
    ],
)
def test_a_described_integer_may_be_a_smallint(declared: str, described: str, same: bool) -> None:
    """int32 stands for both since PostgREST 14.8; arrays and bigint have their own names."""
    assert same_described_type(declared, described) is same
    assert same_type("smallint", "integer") is False


def test_a_table_differs_by_columns_and_types() -> None:
    """What is missing and what is other are problems, what is more is a note."""
    declared = Table({"id": Column("uuid"), "score": Column("numeric"), "gone": Column("text")})
    actual = Table({"id": Column("uuid"), "score": Column("text"), "more": Column("text")})
    found = list(differences(Area("Tables"), "leads", declared, actual))
    assert [(check.level, check.message) for check in found] == [
        (Level.PROBLEM, "score is text, and numeric in the schema"),
        (Level.PROBLEM, "no column gone (text)"),
        (Level.NOTE, "columns that the schema lacks: more"),
    ]
    assert not list(differences(Area("Tables"), "leads", declared, declared))


def test_statements_quote_names() -> None:
    """Whatever a column is called."""
    assert quoted('a"b') == '"a""b"'
    assert grant("select", ["b", "a"], "leads", "anon") == 'grant select ("a", "b") on "public"."leads" to "anon";'
    assert grant("delete", None, "leads", "anon", "crm") == 'grant delete on "crm"."leads" to "anon";'
    assert enable_security("leads") == 'alter table "public"."leads" enable row level security;'


def test_the_environment_is_told_without_secrets() -> None:
    """Which variable counts, where it leads, and what it lists."""
    environ = {
        "SUPABASE_URL": "https://abcdefgh.supabase.co/",
        "SUPABASE_SERVICE_KEY": "SENTINELKEY1",
        "SUPABASE_KEY": "SENTINELKEY2",
        "DATABASE_URL": "postgresql://me:SENTINELKEY3@db.example.org:6543/postgres?sslmode=require",
        "PERSIST_WRITE_TABLES": "leads",
        "PERSIST_WRITE_DENY": "",
    }
    checks = list(environment(environ))
    message = "\n".join(f"{check.subject}: {check.message}" for check in checks)
    assert "SENTINELKEY" not in message
    assert "SUPABASE_URL: abcdefgh.supabase.co" in message
    assert "DATABASE_URL: db.example.org:6543" in message
    assert "SUPABASE_KEY, which holds another key, does not" in message
    assert "PERSIST_WRITE_DENY: ignored" in message


@pytest.mark.parametrize(
    ("url", "shown"), [("https://x.org:8443/a", "x.org:8443"), ("nonsense", "?"), ("http://[", "?")]
)
def test_a_host_is_all_that_is_told_of_a_url(url: str, shown: str) -> None:
    """Whatever stands around it."""
    assert host(url) == shown


CHECKS = [
    Check(area="Tables", level=Level.OK, subject="leads", message="all 16 columns"),
    Check(area="Rights", level=Level.PROBLEM, subject="leads", message="anon may not read", sql=("grant a;",)),
    Check(area="Rights", level=Level.PROBLEM, subject="notes", message="anon may not read", sql=("grant b;",)),
    Check(area="Tables", level=Level.UNCHECKED, message="[red]unseen[/red]", remedy="look"),
]


def _shown(encoding: str = "utf-8") -> str:
    class File(StringIO):
        @property
        def encoding(self) -> str:  # type: ignore[override]
            return encoding

    console = Console(file=File(), width=100, markup=False, emoji=False, highlight=False)
    for shown in shown_checks(CHECKS, console):
        console.print(shown)
    written = console.file
    assert isinstance(written, StringIO)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def test_findings_that_say_the_same_are_shown_together() -> None:
    """By area, each with its remedy and its SQL, and the numbers last."""
    assert _shown() == (
        "Tables\n"
        "  ✓ leads: all 16 columns\n"
        "  ? [red]unseen[/red]\n"
        "    → look\n"
        "Rights\n"
        "  ✗ leads, notes: anon may not read\n"
        "    grant a;\n"
        "    grant b;\n"
        "\n"
        "1 ok, 2 problems, 1 unchecked\n"
        "? could not be seen, and may be right or wrong: → says what would show it"
    )


def test_signs_are_words_where_a_terminal_has_no_signs() -> None:
    """In ASCII."""
    assert "  PROBLEM leads, notes" in _shown("ascii")
    assert _shown("ascii").isascii()


def test_counts_and_remedies() -> None:
    """Each statement once, in order."""
    assert counted(CHECKS) == {"ok": 1, "note": 0, "problem": 2, "unchecked": 1}
    assert remedies([*CHECKS, *CHECKS]) == ["grant a;", "grant b;"]
    assert has_problems(CHECKS)
    assert not has_problems(CHECKS[:1])

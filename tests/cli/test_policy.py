"""`policy` tells what is allowed, as words and as SQL, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_persistence.cli.agreement import agreement
from agent_persistence.cli.checks import Level
from agent_persistence.policy import TablePolicy
from agent_persistence.policy.grants import grants
from agent_persistence.schema_registry import default_schema
from tests.cli.program import ran

SCHEMA = default_schema()
POLICY = """
read = ["leads", "messages"]
write = ["messages"]
delete = ["messages"]
call = ["won_leads"]
max_rows = 1000
[columns]
leads = { read = ["id", "email"], write = [] }
[rows.leads]
status = "open"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_the_policy_is_shown_with_its_source(policy: Path) -> None:
    """Tables, columns, rows, functions and bounds."""
    told = ran("policy", "show", "--policy", policy).out
    assert "The policy of" in told
    assert "email, id" in told
    assert "status eq" in told
    assert "call: won_leads" in told
    assert "max_rows 1,000" in told


def test_the_policy_is_a_document(policy: Path) -> None:
    """With None where all columns are meant."""
    document = ran("policy", "show", "--policy", policy, "--json").document
    assert document["tables"]["leads"] == {
        "read": True,
        "write": False,
        "delete": False,
        "columns": {"read": ["email", "id"], "write": []},
        "rows": document["tables"]["leads"]["rows"],
    }
    assert document["tables"]["messages"]["columns"] == {"read": None, "write": None}
    assert (document["call"], document["bounds"]["max_rows"]) == (["won_leads"], 1000)


def test_the_policy_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what the application would get."""
    monkeypatch.setenv("PERSIST_READ_TABLES", "leads")
    document = ran("policy", "show", "--json").document
    assert [table for table, told in document["tables"].items() if told["read"]] == ["leads"]
    assert document["source"] == "the environment"


def test_one_table_is_explained(policy: Path) -> None:
    """As TablePolicy.explain does."""
    assert (
        ran("policy", "show", "leads", "--policy", policy).out == TablePolicy.from_file(policy).explain("leads") + "\n"
    )


@pytest.mark.parametrize("flags", [(), ("--read-only",), ("--db-schema", "crm"), ("--tenant", "tenant_id")])
def test_the_sql_is_that_of_grants(flags: tuple[str, ...], policy: Path) -> None:
    """Byte for byte, so that it can be piped into psql."""
    options = {"read_only": "--read-only" in flags, "db_schema": "crm" if "--db-schema" in flags else "public"}
    told = ran("policy", "sql", "reader", "--policy", policy, *flags)
    if "--tenant" in flags:
        assert '"tenant_id"' in told.out
    else:
        assert told.out == grants(TablePolicy.from_file(policy), "reader", **options)  # type: ignore[arg-type]
    assert ran("policy", "sql", "reader", "--policy", policy, *flags, "--json").document["sql"] == told.out


def test_the_sql_of_a_tenant_leaves_out_tables_that_are_shared(policy: Path) -> None:
    """Which have no such column."""
    told = ran("policy", "sql", "reader", "--policy", policy, "--tenant", "owner_id", "--shared", "leads, messages").out
    assert "owner_id" not in told
    assert ran("policy", "sql", "reader", "--shared", "leads").status == 2


def test_a_role_that_is_no_name_is_refused() -> None:
    """It would be read as SQL."""
    assert ran("policy", "sql", 'x"; drop table leads; --').status == 3


def _levels(policy: TablePolicy) -> list[tuple[Level, str | None]]:
    return [(check.level, check.subject) for check in agreement(policy, SCHEMA)]


@pytest.mark.parametrize(
    ("policy", "levels"),
    [
        (TablePolicy.default(), [(Level.OK, None)]),
        (TablePolicy(), [(Level.PROBLEM, None)]),
        (TablePolicy(call=["f"]), [(Level.NOTE, None), (Level.NOTE, None)]),
        (TablePolicy(read=["leads"]), [(Level.NOTE, None)]),
        (TablePolicy(write=["leads"]), [(Level.NOTE, None), (Level.NOTE, "leads")]),
        (TablePolicy(read=["notes"], write=["leads"]), [(Level.NOTE, "notes"), (Level.NOTE, "leads")]),
        (TablePolicy(read=["leads"], write=["leads"], delete=["messages"]), [(Level.PROBLEM, "messages")]),
        (TablePolicy(read=["leads"], write=["messages"]), [(Level.NOTE, "messages")]),
        (TablePolicy(read=["clients"], write=["clients"]), [(Level.NOTE, "clients")]),
        (
            TablePolicy(read=["leads"], write=["leads"], columns={"leads": ["id", "budgit"]}),
            [(Level.PROBLEM, "leads"), (Level.NOTE, "leads")],
        ),
        (TablePolicy(read=["leads"], write=["leads"], rows={"leads": {"owner": 5}}), [(Level.PROBLEM, "leads")]),
        (
            TablePolicy(read=["leads"], write=["leads"], columns={"leads": {"write": ["status"]}}),
            [(Level.NOTE, "leads")],
        ),
        (
            TablePolicy(read=["leads"], write=["leads"], columns={"leads": {"write": ["status", "email"]}}),
            [(Level.OK, None)],
        ),
        (TablePolicy(read=["leads"], write=["leads"], call=["f"], call_write=["f"]), [(Level.NOTE, "f")]),
    ],
    ids=lambda value: None if isinstance(value, TablePolicy) else " ".join(f"{level}" for level, _ in value),
)
def test_what_a_policy_gets_wrong(policy: TablePolicy, levels: list[tuple[Level, str | None]]) -> None:
    """Names that the schema lacks, and rules that hinder each other; a control is the policy that fits."""
    assert _levels(policy) == levels


def test_findings_have_the_status_of_findings(tmp_path: Path) -> None:
    """So that CI can stop at them."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\n[columns]\nleads = ["id", "budgit"]\n')
    ended = ran("policy", "check", "--policy", "policy.toml", "--json")
    assert ended.status == 1
    assert ended.document["counts"]["problem"] == 1
    assert ended.document["checks"][1]["message"] == "no column budgit, which the policy names"
    assert ran("policy", "check").status == 0


def test_a_policy_that_allows_nothing_is_a_finding(tmp_path: Path) -> None:
    """What it does not name is denied, so that an empty one denies everything."""
    (tmp_path / "policy.toml").write_text("max_rows = 5\n")
    ended = ran("policy", "check", "--policy", "policy.toml", "--json")
    assert (ended.status, ended.document["checks"][0]["level"]) == (1, "problem")
    assert ended.document["checks"][0]["remedy"].startswith("name tables in read and write")


def test_a_table_that_the_given_schema_lacks_is_a_finding(tmp_path: Path) -> None:
    """Without a schema it is not known whether the table is there, and that is said with what would show it."""
    (tmp_path / "schema.toml").write_text('[tables.notes.columns]\nid = "uuid"\n')
    (tmp_path / "policy.toml").write_text('read = ["notes", "tickets"]\nwrite = ["notes"]\n')
    ended = ran("policy", "check", "--policy", "policy.toml", "--schema", "schema.toml", "--json")
    assert ended.status == 1
    assert [(check["level"], check["subject"]) for check in ended.document["checks"]] == [("problem", "tickets")]
    assert ended.document["checks"][0]["remedy"].startswith("take it out of the policy")
    ended = ran("policy", "check", "--policy", "policy.toml", "--json")
    assert ended.status == 0
    assert {(check["level"], check["subject"]) for check in ended.document["checks"]} == {
        ("unchecked", "notes"),
        ("unchecked", "tickets"),
    }
    assert all("--schema" in check["remedy"] for check in ended.document["checks"])


def test_a_name_that_nothing_has_is_not_shown_as_if_it_were_denied(policy: Path) -> None:
    """With what may have been meant; a table or function that is merely denied is explained with status 0."""
    ended = ran("policy", "show", "laeds", "--policy", policy)
    assert (ended.status, "did you mean 'leads'" in ended.err) == (1, True)
    assert ran("policy", "show", "laeds", "--policy", policy, "--json").document["status"] == 1
    assert [ran("policy", "show", name, "--policy", policy).status for name in ("clients", "won_leads")] == [0, 0]


def test_a_schema_of_ones_own_is_what_counts(tmp_path: Path) -> None:
    """The tables of the file, and no others."""
    (tmp_path / "schema.toml").write_text('[tables.notes.columns]\nid = "uuid"\ntext = "text"\n')
    (tmp_path / "policy.toml").write_text('read = ["notes"]\nwrite = ["notes"]\n[columns]\nnotes = ["id", "text"]\n')
    assert ran("policy", "check", "--policy", "policy.toml", "--schema", "schema.toml").status == 0
    assert ran("policy", "check", "--policy", "policy.toml").out.startswith("Policy\n  ? notes: none of the eight")

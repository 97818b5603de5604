"""What a service may touch."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from agent_persistence import (
    ConfigurationError,
    InMemoryAdapter,
    Schema,
    TableNotAllowedError,
    TablePolicy,
    all_of,
    any_of,
    gte,
    in_,
    not_,
)
from agent_persistence.persistence_config import PersistenceConfig
from agent_persistence.policy import Columns
from agent_persistence.schema_registry import Column, Table
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import Lying, RecordingAdapter, shown


def test_by_default_all_eight_tables_are_read_and_all_but_the_governance_tables_written() -> None:
    """Where no policy is given, by a service's and by the configuration's account."""
    policy = TablePolicy.default()
    assert AsyncPersistenceService(RecordingAdapter()).policy == PersistenceConfig().policy() == policy
    assert policy.read == {
        "campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads", "inquiries",
    }  # fmt: skip
    assert policy.read - policy.write == {"clients", "campaigns"}
    assert policy.write <= policy.read
    assert policy.max_rows == 100_000


@pytest.mark.parametrize("named", ["read", "write", "delete", "call", "call_write", None])
def test_what_a_policy_does_not_name_is_denied(named: str | None) -> None:
    """A list that is given opens no other one, in code or in a file; a policy that names nothing allows nothing."""
    document: Any = {} if named is None else {named: ["tickets"]}
    for policy in (TablePolicy(**document), TablePolicy.from_document(document)):
        allowed = {rule: getattr(policy, rule) for rule in ("read", "write", "delete", "call", "call_write")}
        assert {rule: set(names) for rule, names in allowed.items() if names} == {
            rule: set(names) for rule, names in document.items()
        }


async def test_a_service_with_a_policy_has_none_of_the_default_tables(anyio_backend: str) -> None:
    """The guard refuses them, for reading and for writing, and nothing is sent."""
    adapter = RecordingAdapter()
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read={"tickets"}))
    for call in (
        service.query("leads"),
        service.write("leads", {"email": "a@example.org"}),
        service.bulk_write("messages", [{"content": "x"}]),
        service.update("inquiries", {"handled": True}, {"id": 1}),
        service.write("tickets", {"title": "x"}),
    ):
        with pytest.raises(TableNotAllowedError):
            await call
    assert adapter.calls == []


def test_later_edits_of_the_collection_passed_in_change_nothing() -> None:
    """The lists are copied and frozen."""
    tables: Any = {"leads"}
    policy = TablePolicy(read=tables, write=tables)
    tables.add("clients")
    assert policy.read == policy.write == {"leads"}
    assert not hasattr(policy.write, "add")


@pytest.mark.parametrize("option", ["read", "write", "max_rows", "columns", "rows", "anything"])
def test_a_policy_is_frozen(option: str) -> None:
    """No attribute of it can be set."""
    with pytest.raises((FrozenInstanceError, TypeError)):
        setattr(TablePolicy(), option, frozenset({"clients"}))


_NOT_PLAIN: list[Any] = ["Leads", "leads ", "public.leads", "leads\n", "ｌｅａｄｓ", "1a", 'a"b', "a->>b"]
_NO_NAMES: list[Any] = ["leads", *([name] for name in ("", "a" * 64, b"leads", None, Lying("leads", "leads"), "a\0"))]


@pytest.mark.parametrize("names", _NO_NAMES, ids=shown)
@pytest.mark.parametrize("option", ["read", "write", "delete", "call"])
def test_what_is_no_name_is_refused(option: str, names: Any) -> None:
    """The message names the option; a bare str is not taken for a list of letters."""
    options: dict[str, Any] = {option: names}
    with pytest.raises(ConfigurationError, match=option):
        TablePolicy(**options)


@pytest.mark.parametrize("name", _NOT_PLAIN, ids=shown)
@pytest.mark.parametrize("option", ["call", "call_write"])
def test_a_function_has_a_plain_name(option: str, name: str) -> None:
    """No schema declares functions, so that no other name is known to be one."""
    options: dict[str, Any] = {option: [name]}
    with pytest.raises(ConfigurationError, match=f"{option}: .* is no function"):
        TablePolicy(**options)


@pytest.mark.parametrize("name", _NOT_PLAIN, ids=shown)
@pytest.mark.parametrize("option", ["read", "write", "delete"])
def test_a_table_that_the_schema_does_not_declare_has_a_plain_name(option: str, name: str) -> None:
    """A service with a policy that lists another is not made; with a schema that declares it, it is."""
    options: dict[str, Any] = {option: [name]}
    policy = TablePolicy(**options)
    with pytest.raises(ConfigurationError, match=f"{option}: .* must be declared in the schema"):
        AsyncPersistenceService(InMemoryAdapter(), policy=policy)
    AsyncPersistenceService(InMemoryAdapter(), policy=policy, schema=Schema({name: Table({"id": Column("text")})}))


def test_the_longest_name_that_postgres_has_is_accepted() -> None:
    """Control of the rule above: 63 characters, digits and underscores."""
    longest = "_" + "a1" * 31
    assert TablePolicy(read=frozenset({longest})).read == {longest}


BOUNDS = ["max_rows", "max_filters", "max_list", "max_batch", "max_value_bytes"]


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "5", None], ids=shown)
@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_is_a_positive_int(bound: str, value: Any) -> None:
    """Anything else is refused at construction."""
    options: dict[str, Any] = {bound: value}
    with pytest.raises(ConfigurationError, match=bound):
        TablePolicy(**options)


def test_a_misspelt_option_raises() -> None:
    """A safety option that nobody reads would be worse than none."""
    options: dict[str, Any] = {"raed": {"leads"}}
    with pytest.raises(TypeError, match="raed"):
        TablePolicy(**options)


@pytest.mark.parametrize("names", [5, None, [["leads"]]], ids=shown)
def test_what_is_no_collection_of_names_is_refused(names: Any) -> None:
    """The error is the package's own and names the option."""
    with pytest.raises(ConfigurationError, match="read"):
        TablePolicy(read=names)


# --- columns and rows -------------------------------------------------------------------------------------------------

BOTH = frozenset({"id", "email"})
LISTED: dict[str, Any] = {
    "a list for both": ["id", "email"],
    "two lists": {"read": ["id", "email"], "write": ["id", "email"]},
    "generators": {"read": iter(["id", "email"]), "write": iter(("id", "email"))},
    "as it is kept": Columns(BOTH, BOTH),
}


@pytest.mark.parametrize("given", LISTED.values(), ids=LISTED)
def test_columns_are_listed_for_reading_and_for_writing(given: Any) -> None:
    """One list stands for both."""
    policy = TablePolicy(read={"leads"}, columns={"leads": given})
    assert (policy.readable("leads"), policy.writable("leads")) == (BOTH, BOTH)


def test_what_is_not_limited_is_whole() -> None:
    """None means every column: of a table without a rule, and of the half that a rule leaves out."""
    policy = TablePolicy(read={"leads", "messages"}, columns={"leads": {"read": ["id"]}, "messages": {"write": []}})
    assert (policy.readable("leads"), policy.writable("leads")) == (frozenset({"id"}), None)
    assert (policy.readable("messages"), policy.writable("messages")) == (None, frozenset())
    assert (policy.readable("clients"), policy.writable("clients")) == (None, None)


@pytest.mark.parametrize(
    "columns",
    [
        {"leads": "email"},
        {"leads": 5},
        {"leads": [5]},
        {"leads": [""]},
        {"leads": ["custom->>role"]},
        {"leads": ["a\0b"]},
        {"leads": [Lying("phone", "email")]},
        {"leads": {"reed": ["id"]}},
        {"leads": {"read": "id"}},
        {"leads": {"read": None}},
        {"lead": ["id"]},
        {"unlisted": ["id"]},
        {5: ["id"]},
        [("leads", ["id"])],
        None,
    ],
    ids=shown,
)
def test_a_column_rule_that_makes_no_sense_is_refused(columns: Any) -> None:
    """An unknown key, a table that nothing is allowed on, a bare str, a part of a column."""
    with pytest.raises(ConfigurationError, match="columns"):
        TablePolicy(read={"leads"}, columns=columns)


@pytest.mark.parametrize(
    "rows",
    [
        {"leads": {}},
        {"leads": all_of()},
        {"leads": None},
        {"leads": {"status": ["open"]}},
        {"leads": "status"},
        {"leads": gte(5)},
        {"unlisted": {"status": "open"}},
        {"leads": {"status": object()}},
        5,
    ],
    ids=shown,
)
def test_a_row_rule_that_limits_nothing_or_is_no_filter_is_refused(rows: Any) -> None:
    """A filter that selects every row would be a rule that nobody meant."""
    with pytest.raises(ConfigurationError, match="rows"):
        TablePolicy(read={"leads"}, rows=rows)


def test_later_edits_of_columns_and_rows_change_nothing() -> None:
    """They are copied deep down, and what is kept can be edited by nobody."""
    columns: Any = {"leads": {"read": ["id"], "write": ["id"]}}
    rows: Any = {"leads": {"status": "open"}}
    policy = TablePolicy(read={"leads"}, columns=columns, rows=rows)
    columns["leads"]["read"].append("phone")
    columns["messages"] = []
    rows["leads"]["status"] = "won"
    rows.clear()
    assert policy == TablePolicy(read={"leads"}, columns={"leads": ["id"]}, rows={"leads": {"status": "open"}})
    frozen: tuple[Any, ...] = (policy.columns, policy.rows)
    for kept in frozen:
        with pytest.raises(TypeError):
            kept["clients"] = None
        with pytest.raises(AttributeError):
            kept.clear()


def test_a_policy_can_be_changed_into_another_one() -> None:
    """`replace` keeps every rule that it is not told; a copy and a pickle are equal, and so is the hash."""
    policy = TablePolicy(
        read={"leads"}, columns={"leads": {"read": ["id"]}}, rows={"leads": {"status": in_(["open"])}}, max_list=7
    )
    leads = frozenset({"leads"})
    wider = replace(policy, delete=leads)
    assert (wider.delete, wider.columns, wider.rows, wider.max_list) == (leads, policy.columns, policy.rows, 7)
    for same in (deepcopy(policy), pickle.loads(pickle.dumps(policy)), replace(policy)):
        assert same == policy
        assert hash(same) == hash(policy)
    assert wider != policy


# --- explain ----------------------------------------------------------------------------------------------------------


def test_a_policy_explains_itself() -> None:
    """What is allowed, which list says so, which columns and rows; never the value of a filter."""
    policy = TablePolicy(
        read={"leads"},
        write={"leads", "messages"},
        columns={"leads": {"read": ["id", "email"], "write": []}},
        rows={"leads": {"status": "secret"}},
    )
    assert policy.explain("leads").splitlines() == [
        "leads:",
        "  read, query, count, iterate, get_columns: yes: it is in read",
        "  write, batch_write, upsert: yes: it is in write",
        "  update: yes: it is in write and read",
        "  delete: no: it is not in delete",
        "  call: no: it is not in call",
        "  call of a function that writes: no: it is not in call_write",
        "  columns to read: email, id",
        "  columns to write: none",
        "  rows: those where status eq(…)",
    ]
    assert "update: no: it is not in read" in policy.explain("messages")


@pytest.mark.parametrize("table", ["unlisted", "leads/../x", "", "\x1b[2J", "a" * 10_000, 5, None], ids=shown)
def test_any_name_can_be_explained(table: Any) -> None:
    """What nobody listed is not allowed; a hostile name is shown harmlessly."""
    told = TablePolicy.default().explain(table)
    assert "yes" not in told
    assert told.isascii()
    assert len(told) < 700


# --- files ------------------------------------------------------------------------------------------------------------

TOLD = """
read = ["leads", "messages"]
write = ["messages"]
delete = ["messages"]
call = ["won_leads"]
call_write = ["purge"]
max_rows = 1000
max_filters = 10

[columns]
leads = { read = ["id", "email", "score"], write = [] }
messages = ["id", "role"]

[rows.leads]
status = "open"
score = { gte = 0.5 }
deleted_at = { is_null = true }
"""


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    """The keys are the arguments; operators stand by their names."""
    path = tmp_path / "policy.toml"
    path.write_text(TOLD)
    assert TablePolicy.from_file(path) == TablePolicy(
        read={"leads", "messages"},
        write={"messages"},
        delete={"messages"},
        call={"won_leads"},
        call_write={"purge"},
        max_rows=1000,
        max_filters=10,
        columns={"leads": {"read": ["id", "email", "score"], "write": []}, "messages": ["id", "role"]},
        rows={"leads": {"status": "open", "score": gte(0.5), "deleted_at": None}},
    )


def test_json_says_the_same(tmp_path: Path) -> None:
    """There null means IS NULL, as None does in code."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"read": ["leads"], "write": [], "rows": {"leads": {"deleted_at": None}}}))
    assert TablePolicy.from_file(str(path)) == TablePolicy(read={"leads"}, rows={"leads": {"deleted_at": None}})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"raed": ["leads"]}, "unknown key 'raed': did you mean 'read'"),
        ({"read_only": True}, "unknown key 'read_only'"),
        ({"read": "leads"}, "read is a collection"),
        ({"write": True}, "write is a collection"),
        ({"max_rows": "many"}, "max_rows is a positive int"),
        ({"read": ["leads"], "columns": {"leads": {"raed": []}}}, "columns.leads: unknown key 'raed'"),
        ({"columns": ["leads"]}, "columns: a mapping is needed"),
        (
            {"rows": {"leads": {"score": {"gtee": 1}}}},
            "rows: leads: score: unknown operator 'gtee': did you mean 'gte'",
        ),
        ({"rows": {"leads": {"any_of": []}}}, "rows: leads: any_of: a list of filters is needed"),
        ({"rows": {"leads": {"score": {}}}}, "rows: leads: score: an operator is needed here"),
        ({"rows": {"leads": {"score": {"gte": None}}}}, r"rows: leads: score: gte\(None\)"),
        ({"rows": {"leads": {"score": {"is_null": False}}}}, r'write \{"is_null": true\}'),
        ({"rows": {"leads": {"score": {"__class__": 1}}}}, "unknown operator '__class__'"),
        ({"rows": {"leads": ["score"]}}, "rows: leads: a mapping is needed"),
        (
            {"read": ["leads"], "rows": {"leads": {"status": ["open"]}}},
            "rows: leads: status: a column does not equal a list",
        ),
        ({"rows": 5}, "rows: a mapping is needed"),
        ([], "a mapping is needed"),
    ],
    ids=shown,
)
def test_a_document_that_is_wrong_is_refused_with_the_place(document: Any, told: str) -> None:
    """A misspelt safety option must not be one that nobody reads."""
    with pytest.raises(ConfigurationError, match=told):
        TablePolicy.from_document(document)


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.toml", "read = ["), ("p.json", "{"), ("p.yaml", "read: []"), ("absent.toml", None), ("p.toml", "raed = []")],
)
def test_a_file_that_cannot_be_read_is_named(name: str, text: str | None, tmp_path: Path) -> None:
    """The error begins with its path."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"^{path}"):
        TablePolicy.from_file(path)


def test_other_filters_are_for_code() -> None:
    """A row rule is any filter, also one that a file does not spell."""
    rows = {"leads": any_of({"status": "open"}, not_({"score": gte(1)}))}
    assert "any_of(" in TablePolicy(read={"leads"}, rows=rows).explain("leads")

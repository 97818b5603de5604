"""What a Redaction hides leaves by no verb, and is not stored where it is told not to be."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence import (
    AsyncPersistenceService,
    ColumnNotAllowedError,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAdapter,
    PersistenceError,
    PersistencePermissionError,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
    any_of,
    asc,
    desc,
    eq,
    ilike,
    is_null,
    not_,
)
from agent_persistence.context import CallContext
from agent_persistence.filters import parse_filters
from agent_persistence.operations import Operation, Query, Read, Result
from agent_persistence.pipeline.masking import Masking
from agent_persistence.redaction import (
    Action,
    Redaction,
    allow,
    drop,
    generalize,
    mask,
    pseudonymize,
    redact,
    scan,
)
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table, default_schema
from tests.doubles import RecordingAdapter, shown
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

Verb: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[Any]]

KEY: Final = "0123456789abcdef"
EVERYTHING: Final = TablePolicy(
    write={"leads", "campaigns", "messages", "notes"},
    delete={"leads"},
    read={"leads", "clients", "campaigns", "messages", "notes"},
    call={"find_leads"},
    call_write={"store_lead"},
)
HIDING: Final = Redaction(
    {
        "leads": {
            "email": redact("email"),
            "first_name": redact("person"),
            "phone": mask(keep_last=2),
            "company": pseudonymize("company"),
            "notes": scan(),
            "custom": drop(),
            "status": allow(),
            "score": generalize(step=10),
        },
        "find_leads": {"email": redact("email"), "n": allow(), "find_leads": mask()},
        "store_lead": {"email": redact("email"), "store_lead": allow()},
    },
    key=KEY,
)
LEAD: Final = {
    "email": "ada@mail.example",
    "first_name": "Adaline",
    "phone": "+44 20 7946 0112",
    "company": "Analytical",
    "notes": "Adaline or write to other@mail.example",
    "custom": {"role": "countess"},
    "status": "new",
    "score": 43,
    "tags": ["vip"],
}
SEEN: Final = {
    "email": "[EMAIL]",
    "first_name": "[PERSON]",
    "phone": "**************12",
    "company": HIDING.pseudonym("company", "Analytical"),
    "notes": "[PERSON] or write to [EMAIL]",
    "status": "new",
    "score": "40 to 50",
}


def service(
    adapter: PersistenceAdapter, schema: Schema | None = None, policy: TablePolicy = EVERYTHING, **masks: Redaction
) -> AsyncPersistenceService:
    options: dict[str, Any] = {f"mask_{which}": redaction for which, redaction in masks.items()}
    return AsyncPersistenceService(adapter, policy=policy, schema=schema, retry=False, **options)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "server"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[PersistenceAdapter]:
    if request.param == "memory":
        yield InMemoryAdapter(schema=default_schema())
        return
    server: LocalServer = request.getfixturevalue("server")
    adapter = SupabaseAdapter(server.url, server.service_key)
    yield adapter
    await adapter.aclose()


async def _streamed(service: AsyncPersistenceService, **options: Any) -> list[Any]:
    return [row async for row in service.iterate("leads", **options)]


async def test_every_verb_that_returns_rows_hides_them(adapter: PersistenceAdapter) -> None:
    """Keys are shown, columns that are dropped or not named are absent, and the rest is as its action says."""
    masked = service(adapter, reads=HIDING)
    written = await masked.write("leads", LEAD)
    key = written["id"]
    by_key = {"id": key}
    seen = {**SEEN, "id": key, "client_id": None, "campaign_id": None}
    assert written == seen
    assert await masked.batch_write("leads", [{**LEAD, "email": "bob@mail.example"}]) != []
    assert await masked.upsert("leads", {**LEAD, "id": key}) == seen
    assert await masked.update("leads", {"status": "new"}, by_key) == [seen]
    assert await masked.read("leads", key) == seen
    assert await masked.query("leads", by_key) == [seen]
    assert seen in await _streamed(masked)
    assert await masked.query("leads", by_key, select=["phone", "id"]) == [{"phone": SEEN["phone"], "id": key}]
    assert await masked.delete("leads", by_key) == [seen]


async def test_without_masks_the_rows_are_as_they_were_stored(adapter: PersistenceAdapter) -> None:
    """Control: the values above are what the adapter has."""
    row = await service(adapter).write("leads", LEAD)
    assert {column: row[column] for column in LEAD} == LEAD


async def test_null_stays_null(adapter: PersistenceAdapter) -> None:
    """It says that there is no value, and hides none."""
    row = await service(adapter, reads=HIDING).write("leads", {"email": "ada@mail.example"})
    assert [row[column] for column in ("first_name", "phone", "company", "notes", "score")] == [None] * 5


async def test_a_part_of_a_document_is_hidden_as_the_document_is(adapter: PersistenceAdapter) -> None:
    """A path has the action of its column; what other columns tell is known in it."""
    schema = _with_paths("custom->>role", "custom->address")
    custom = {"role": "friend of Adaline", "address": {"city": "Rome", "contact": "ada@mail.example"}}
    stored = service(adapter, schema)
    await stored.write("leads", {**LEAD, "custom": custom})
    names = ["first_name", "custom->>role", "custom->address"]
    for action, expected in (
        (scan(), {"custom->>role": "friend of [PERSON]", "custom->address": {"city": "Rome", "contact": "[EMAIL]"}}),
        (drop(), {}),
        (allow(), {"custom->>role": custom["role"], "custom->address": custom["address"]}),
    ):
        redaction = Redaction({"leads": {"first_name": redact("person"), "custom": action}})
        paths = AsyncPersistenceService(adapter, policy=EVERYTHING, mask_reads=redaction, schema=schema, retry=False)
        assert await paths.query("leads", select=names) == [{"first_name": "[PERSON]", **expected}]


@pytest.mark.parametrize("action", [redact(), drop()], ids=shown)
async def test_a_path_is_hidden_where_other_columns_are_shown(action: Action) -> None:
    """It is no column of its own, of which nothing is said."""
    schema = _with_paths("custom->>role")
    adapter = InMemoryAdapter({"leads": [LEAD]}, schema=schema)
    reads = Redaction({"leads": {"custom": action}}, unknown=allow())
    masked = AsyncPersistenceService(adapter, policy=EVERYTHING, mask_reads=reads, schema=schema)
    (row,) = await masked.query("leads", select=["status", "custom->>role"])
    assert row == {"status": "new"} | ({} if action == drop() else {"custom->>role": "[VALUE]"})
    with pytest.raises(ColumnNotAllowedError):
        await masked.query("leads", {"custom->>role": "countess"})


async def test_a_path_of_what_is_shown_may_be_asked_for() -> None:
    """Control: the action is that of the column."""
    schema = _with_paths("custom->>role")
    adapter = InMemoryAdapter({"leads": [LEAD]}, schema=schema)
    reads = Redaction({"leads": {"custom": allow()}})
    masked = AsyncPersistenceService(adapter, policy=EVERYTHING, mask_reads=reads, schema=schema)
    rows = await masked.query("leads", {"custom->>role": "countess"}, select=["custom->>role"])
    assert rows == [{"custom->>role": "countess"}]


def _with_paths(*paths: str) -> Schema:
    document = default_schema().to_document()
    document["tables"]["leads"]["paths"] = list(paths)
    return Schema.from_document(document)


async def test_columns_that_are_dropped_are_in_no_list_of_columns(adapter: PersistenceAdapter) -> None:
    """Nor are those that the Redaction does not name; keys and hidden ones are."""
    columns = await service(adapter, reads=HIDING).get_columns("leads")
    assert columns is not None
    assert {*columns} == {*SEEN, "id", "client_id", "campaign_id"}


async def test_a_list_of_columns_may_be_unknown() -> None:
    """None stays None."""
    assert await service(InMemoryAdapter(), reads=HIDING).get_columns("leads") is None


async def test_rows_can_be_counted(adapter: PersistenceAdapter) -> None:
    """By what is shown."""
    masked = service(adapter, reads=HIDING)
    await masked.write("leads", LEAD)
    assert await masked.count("leads") == await masked.count("leads", {"status": "new"}) == 1


ORACLES: Final[dict[str, Verb]] = {
    "filter": lambda s: s.query("leads", {"email": "ada@mail.example"}),
    "pattern": lambda s: s.query("leads", {"notes": ilike("%ada%")}),
    "null": lambda s: s.query("leads", {"phone": is_null()}),
    "nested": lambda s: s.query("leads", not_(any_of({"status": "new"}, {"company": "x"}))),
    "path": lambda s: s.query("leads", {"custom->>role": "x"}),
    "order": lambda s: s.query("leads", order_by="first_name"),
    "descending": lambda s: s.query("leads", order_by=[asc("status"), desc("score")]),
    "path order": lambda s: s.query("leads", order_by="custom->>role"),
    "unnamed": lambda s: s.query("leads", {"tags": eq("x")}),
    "count": lambda s: s.count("leads", {"email": "ada@mail.example"}),
    "read": lambda s: s.read("leads", "ada@mail.example", "email"),
    "iterate": lambda s: _streamed(s, order_by="score"),
    "iterate filter": lambda s: _streamed(s, filters={"score": 5}),
    "update": lambda s: s.update("leads", {"status": "won"}, {"email": "ada@mail.example"}),
    "delete": lambda s: s.delete("leads", {"email": "ada@mail.example"}),
    "other table": lambda s: s.query("clients", {"name": "x"}),
}


@pytest.mark.parametrize("verb", ORACLES.values(), ids=ORACLES)
async def test_what_is_hidden_can_be_neither_filtered_nor_sorted_nor_looked_up_by(verb: Verb) -> None:
    """Whether a row comes back would tell its value; no request leaves."""
    adapter = RecordingAdapter()
    schema = _with_paths("custom->>role")
    reads = HIDING
    guarded = AsyncPersistenceService(adapter, policy=EVERYTHING, mask_reads=reads, schema=schema)
    with pytest.raises(ColumnNotAllowedError, match="it is masked"):
        await verb(guarded)
    assert adapter.calls == []


@pytest.mark.parametrize("verb", ORACLES.values(), ids=ORACLES)
async def test_what_is_shown_can_be(verb: Verb) -> None:
    """Control: the same calls pass where the Redaction allows the columns."""
    adapter = RecordingAdapter()
    schema = _with_paths("custom->>role")
    reads = Redaction({}, unknown=allow())
    open_ = AsyncPersistenceService(adapter, policy=EVERYTHING, mask_reads=reads, schema=schema)
    await verb(open_)
    assert len(adapter.calls) == 1


async def test_keys_that_the_redaction_names_are_hidden_too() -> None:
    """And are no way to a row any more."""
    redaction = Redaction({"leads": {"id": redact(), "client_id": drop()}}, unknown=allow())
    masked = service(InMemoryAdapter({"leads": [{"id": "7", "client_id": "8"}]}), reads=redaction)
    (row,) = await masked.query("leads")
    assert row["id"] == "[VALUE]"
    assert {*row} == {"id", "created_at"}
    for verb in (masked.read("leads", "7"), masked.query("leads", {"client_id": "8"})):
        with pytest.raises(ColumnNotAllowedError):
            await verb


async def test_the_policy_may_choose_rows_by_what_is_hidden() -> None:
    """Its own condition tells a caller nothing; the caller's does, though it says the same."""
    own = parse_filters("leads", {"email": "ada@mail.example"})
    assert own is not None
    seen: list[Any] = []

    async def endpoint(operation: Operation, context: CallContext) -> Result:
        seen.append(operation)
        return Result([])

    masking = Masking(default_schema(), reads=HIDING, rows={"leads": own})
    await masking(Query("leads", own), CallContext(), endpoint)
    with pytest.raises(ColumnNotAllowedError):
        await masking(Query("leads", parse_filters("leads", {"email": "ada@mail.example"})), CallContext(), endpoint)
    assert len(seen) == 1


FOUND: Final = [{"email": "ada@mail.example", "n": 1, "extra": "ada@mail.example"}]


@pytest.mark.parametrize(
    ("returned", "seen"),
    [
        (FOUND, [{"email": "[EMAIL]", "n": 1}]),
        (FOUND[0], {"email": "[EMAIL]", "n": 1}),
        ("ada@mail.example", "************mple"),
        (["ada@mail.example", None], ["************mple", None]),
        (None, None),
        ([], []),
    ],
    ids=shown,
)
async def test_what_a_function_returns_is_hidden_as_rows_of_a_table_of_its_name(returned: Any, seen: Any) -> None:
    """A value that is no row has the action of a column of that name."""
    adapter = InMemoryAdapter(functions={"find_leads": lambda: returned})
    assert await service(adapter, reads=HIDING).call("find_leads") == seen
    assert await service(adapter).call("find_leads") == returned, "control"


async def test_a_function_of_which_nothing_is_said_is_not_called() -> None:
    """All that it returns would be dropped; with another action for the unknown, it is."""
    adapter = RecordingAdapter()
    with pytest.raises(PersistencePermissionError, match="find_leads"):
        await service(adapter, reads=Redaction({"leads": {}})).call("find_leads")
    assert adapter.calls == []
    masked = service(adapter, reads=Redaction({}, unknown=redact()))
    assert await masked.call("find_leads", {"q": "ada@mail.example"}) == {"q": "[VALUE]"}


STORED: Final = Redaction(
    {
        "leads": {
            "email": pseudonymize("email"),
            "notes": scan(),
            "phone": drop(),
            "status": allow(),
            "first_name": redact("person"),
        },
        "store_lead": {"first_name": redact("person"), "phone": drop()},
    },
    key=KEY,
)
GIVEN: Final = {"email": "ada@mail.example", "notes": "call +44 20 7946 0112", "phone": "1", "status": "new"}
KEPT: Final = {"email": STORED.pseudonym("email", "ada@mail.example"), "notes": "call [PHONE]", "status": "new"}


async def test_every_verb_that_stores_rows_stores_what_the_redaction_leaves(adapter: PersistenceAdapter) -> None:
    """Columns that are dropped are not stored; keys are."""
    masked = service(adapter, writes=STORED)
    written = await masked.write("leads", GIVEN)
    (batched,) = await masked.batch_write("leads", [{**GIVEN, "email": "bob@mail.example"}])
    upserted = await masked.upsert("leads", GIVEN, ["email"])
    (updated,) = await masked.update("leads", {"notes": "call 020 7946 0112"}, {"id": batched["id"]})
    for row in (written, upserted):
        assert {name: row[name] for name in KEPT} == KEPT
        assert row["phone"] is None
    assert upserted["id"] == written["id"], "the pseudonym finds the row again"
    assert (batched["email"][:6], updated["notes"]) == ("email_", "call [PHONE]")
    assert await masked.query("leads", {"email": KEPT["email"]}) != [], "what is not hidden on reads may be asked for"


async def test_what_is_given_to_a_function_that_writes_is_masked_too() -> None:
    """As a record of a table of its name; a function that only reads gets what it was given."""
    adapter = RecordingAdapter()
    masked = service(adapter, writes=STORED)
    await masked.call("store_lead", {"first_name": "Ada", "phone": "1"})
    await masked.call("find_leads", {"first_name": "Ada"})
    assert [arguments for _, (_, arguments, _) in adapter.calls] == [
        {"first_name": "[PERSON]"},
        {"first_name": "Ada"},
    ]


WRITES: Final[dict[str, Callable[[AsyncPersistenceService, dict[str, Any]], Awaitable[Any]]]] = {
    "write": lambda s, record: s.write("leads", record),
    "batch_write": lambda s, record: s.batch_write("leads", [{"email": "a"}, record]),
    "upsert": lambda s, record: s.upsert("leads", record),
    "update": lambda s, record: s.update("leads", record, {"id": "1"}),
    "call": lambda s, record: s.call("store_lead", record),
}


@pytest.mark.parametrize("verb", WRITES.values(), ids=WRITES)
async def test_nothing_is_lost_silently(verb: Any) -> None:
    """A column that would be dropped because nobody named it is refused, and nothing is sent."""
    adapter = RecordingAdapter()
    with pytest.raises(ColumnNotAllowedError, match="would be dropped") as caught:
        await verb(service(adapter, writes=STORED), {"company": "ACME"})
    assert caught.value.column == "company"
    assert adapter.calls == []


@pytest.mark.parametrize("verb", [WRITES["update"], WRITES["call"]], ids=["update", "call"])
async def test_a_record_of_which_nothing_is_left_is_refused(verb: Any) -> None:
    """Nothing is sent that would change nothing."""
    adapter = RecordingAdapter()
    with pytest.raises(ValidationError, match="every column of the record is masked"):
        await verb(service(adapter, writes=STORED), {"phone": "1"})
    assert adapter.calls == []


async def test_an_upsert_by_values_that_become_the_same_is_refused() -> None:
    """Every row would be merged into one."""
    adapter = RecordingAdapter()
    masked = service(adapter, writes=STORED)
    with pytest.raises(ColumnNotAllowedError, match="not told apart"):
        await masked.upsert("leads", {"email": "a@x.io", "first_name": "Ada"}, ["first_name"])
    assert adapter.calls == []


@pytest.mark.parametrize("action", [redact(), drop(), mask(), scan(), generalize(prefix=1)], ids=shown)
def test_primary_keys_that_become_the_same_are_refused_at_once(action: Action) -> None:
    """A second row would be taken for the first."""
    redaction = Redaction({"leads": {"id": action}}, key=KEY)
    with pytest.raises(ConfigurationError, match=r"leads\.id is a primary key"):
        Masking(default_schema(), writes=redaction)
    Masking(default_schema(), reads=redaction)


async def test_rows_are_stored_where_the_policy_looks_for_them() -> None:
    """The columns of its row filters keep their values, unless the Redaction names them."""
    own = parse_filters("leads", {"company": "ACME"})
    assert own is not None
    adapter = RecordingAdapter()
    policy = replace(EVERYTHING, rows={"leads": own})
    await service(adapter, policy=policy, writes=STORED).write("leads", {"company": "ACME"})
    assert adapter.calls[0][1][1]["company"] == "ACME"


@pytest.mark.parametrize("option", ["reads", "writes"])
def test_what_is_no_redaction_is_refused(option: str) -> None:
    """At construction, with the name of the option."""
    wrong: Any = {"leads": {"email": "redact"}}
    with pytest.raises(ConfigurationError, match=f"{option} is a Redaction, not dict"):
        Masking(default_schema(), **{option: wrong})


async def test_the_key_of_a_table_that_is_not_declared_is_id() -> None:
    """As everywhere."""
    masked = service(InMemoryAdapter({"notes": [{"id": "1", "text": "x"}]}), reads=Redaction({}))
    assert await masked.query("notes") == [{"id": "1"}]


async def test_keys_of_the_schema_are_shown_whatever_their_names() -> None:
    """Primary and foreign."""
    columns = {name: Column("text") for name in ("code", "lead", "text")}
    table = Table(columns, primary_key=("code",), foreign_keys=(ForeignKey("lead", "leads"),))
    schema = Schema({"notes": table})
    adapter = InMemoryAdapter({"notes": [{"code": "c", "lead": "l", "text": "t"}]})
    masked = service(adapter, schema, reads=Redaction({}))
    assert await masked.query("notes", {"lead": "l"}, order_by="code") == [{"code": "c", "lead": "l"}]


async def test_rows_without_anything_to_hide_pass() -> None:
    """With every column."""
    masked = service(InMemoryAdapter({"notes": [{"id": "1", "text": "x"}]}), reads=Redaction({}, unknown=allow()))
    (row,) = await masked.query("notes")
    assert row["text"] == "x"


ACTIONS: Final = st.sampled_from(
    [
        *(redact(), redact("email"), drop(), drop("person"), mask(), mask("phone"), pseudonymize()),
        *(generalize(step=10), generalize(date="month"), generalize(network=True)),
    ]
)
SECRET: Final = "s3cr3t-Zyxwvut"
VALUES: Final = st.recursive(
    st.sampled_from([SECRET, f"{SECRET}@mail.example", f"a {SECRET} b", f"\u200b{SECRET}"]),
    lambda values: st.one_of(
        st.lists(values, min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(["a", "email"]), values, min_size=1, max_size=2),
    ),
    max_leaves=3,
)
TEXTS: Final = st.sampled_from([SECRET, f"{SECRET}@mail.example", f"+44 {SECRET}"])
ROWS: Final = st.fixed_dictionaries(
    {"email": TEXTS},
    optional={
        **dict.fromkeys(("first_name", "phone", "company", "notes"), TEXTS),
        "tags": st.lists(TEXTS, max_size=2),
        "custom": VALUES,
    },
)
PATHS: Final = ("custom->a", "custom->>email", "custom->a->>email", "custom->0")


async def _everything(masked: AsyncPersistenceService, row: dict[str, Any]) -> AsyncIterator[Any]:
    """What each verb tells of a row, or the error that it raises."""
    yield (written := await masked.write("leads", row))
    key = {"id": written["id"]}
    verbs: list[Awaitable[Any]] = [
        masked.batch_write("leads", [{**row, "email": f"1{row['email']}"}, {**row, "email": f"2{row['email']}"}]),
        masked.upsert("leads", {**row, **key}),
        masked.upsert("leads", row, ["email"]),
        masked.update("leads", row, key),
        masked.read("leads", written["id"]),
        masked.read("leads", row["email"], "email"),
        masked.query("leads"),
        masked.query("leads", select=[*row, *PATHS]),
        masked.query("leads", select=[*PATHS]),
        masked.query("leads", {"email": row["email"]}),
        masked.query("leads", order_by=[*row]),
        masked.count("leads", {"email": row["email"]}),
        masked.get_columns("leads"),
        masked.call("find_leads"),
        masked.call("store_lead", row),
        _streamed(masked),
        masked.write("leads", {**row, **key}),
        masked.delete("leads", key),
    ]
    for verb in verbs:
        try:
            yield await verb
        except PersistenceError as error:
            yield error


async def _leaks(row: dict[str, Any], masks: dict[str, Any]) -> list[Any]:
    """What of the row was told by a verb, or in an error or its causes."""
    functions: dict[str, Callable[..., Any]] = {
        "find_leads": lambda: [row, row["email"], [row]],
        "store_lead": lambda **given: given,
    }
    schema = _with_paths(*PATHS)
    adapter = InMemoryAdapter(schema=schema, functions=functions)
    masked = service(adapter, schema, **masks)
    return [told async for told in _everything(masked, row) if SECRET in _all_that_is_told(told)]


def _all_that_is_told(value: Any) -> str:
    if isinstance(value, BaseException):
        return f"{value!r} {vars(value)} {_all_that_is_told(value.__cause__)}"
    return ascii(value)


@settings(max_examples=60, deadline=None)
@given(ROWS, ACTIONS, ACTIONS)
def test_no_hidden_value_leaves_by_any_verb(row: dict[str, Any], one: Action, other: Action) -> None:
    """Whatever the shape of the row, and whichever actions hide its columns."""
    columns = {column: (one, other)[number % 2] for number, column in enumerate(row)}
    functions = {"find_leads": one, "store_lead": other}
    tables = {name: {**columns, name: action} for name, action in functions.items()}
    redaction = Redaction({"leads": columns, **tables}, key=KEY)
    assert anyio.run(_leaks, row, {"reads": redaction}) == []


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_without_a_mask_they_leave(row: dict[str, Any]) -> None:
    """Control: the verbs tell the values, and the search for them finds them."""
    assert len(anyio.run(_leaks, row, {})) > 10


@settings(max_examples=60, deadline=None)
@given(ROWS, ACTIONS, ACTIONS)
def test_no_hidden_value_is_stored_by_any_verb(row: dict[str, Any], one: Action, other: Action) -> None:
    """Nor sent to the server in a record."""

    async def run() -> list[Any]:
        columns = {column: (one, other)[number % 2] for number, column in enumerate(row)}
        adapter = RecordingAdapter()
        redaction = Redaction({"leads": columns, "store_lead": columns}, key=KEY)
        async for _ in _everything(service(adapter, writes=redaction), row):
            pass
        return [call for call in adapter.calls if call[0] in WRITES and SECRET in ascii(call)]

    assert anyio.run(run) == []


async def test_what_comes_back_of_a_read_is_no_object_of_the_adapter() -> None:
    """Changing it changes nothing below, where a cache may stand."""
    kept = {"id": "1"}

    async def endpoint(operation: Operation, context: CallContext) -> Result:
        return Result(kept)

    result = await Masking(default_schema(), reads=HIDING)(Read("leads", "1"), CallContext(), endpoint)
    result.value["id"] = "2"
    assert kept == {"id": "1"}

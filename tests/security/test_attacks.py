"""Every attack that is known to work elsewhere is refused with its class, and no request leaves."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from agent_persistence import (
    ColumnNotAllowedError,
    ConfigurationError,
    PersistenceError,
    PersistencePermissionError,
    ReadOnlyError,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    all_of,
    any_of,
    contains,
    eq,
    exists,
    in_,
    increment,
    merge,
    ne,
    not_,
    text_search,
)
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import NULL
from agent_persistence.service import AsyncPersistenceService
from tests.backends.doubles import SECRET, Recorder, rows
from tests.doubles import Lying, shown

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[Any], Awaitable[Any]]

POLICY = TablePolicy(
    read={"leads", "messages", "conversations"},
    write={"leads"},
    delete={"leads"},
    call={"search"},
    columns={
        "leads": {
            "read": ["id", "email", "score", "tags", "tenant_id", "custom"],
            "write": ["id", "email", "tags", "custom"],
        }
    },
    max_rows=1000,
    max_filters=50,
    max_list=500,
    max_batch=100,
    max_value_bytes=100_000,
)


@pytest.fixture
def recorder() -> Recorder:
    """Counts what leaves."""
    return Recorder(lambda request: rows({"id": "1", "email": "a", "tenant_id": "a"}))


@pytest.fixture
def made(recorder: Recorder) -> AsyncPersistenceService:
    return AsyncPersistenceService(recorder.adapter(), policy=POLICY, row_cap=1000, retry=False)


async def refused(call: Awaitable[Any], expected: type[Exception], recorder: Recorder) -> None:
    """The call raises exactly this class, and no request has left."""
    with pytest.raises(PersistenceError) as caught:
        await call
    assert type(caught.value) is expected, repr(caught.value)
    assert recorder.requests == []


async def failure(call: Awaitable[Any]) -> Exception | None:
    """What the call raises, if it raises anything."""
    try:
        await call
    except (PersistenceError, StopAsyncIteration) as error:
        return error
    return None


# --- tables -----------------------------------------------------------------------------------------------------------

TABLES: list[Any] = [
    *("leads/../clients", "../../auth/v1/admin/users", "../leads", "rpc/purge", "rpc/search", "", ".", "..", "leads/"),
    *("/leads", "leads?select=*", "leads#x", "le%61ds", "leads%2f..%2fclients", "LEADS", "Leads", "leads ", " leads"),
    *(
        "leads\t",
        "leads\n",
        "leads\r\nx: y",
        "leads\0",
        "leads\u00a0",
        "ｌｅａｄｓ",
        "le\u200bads",
        "lеads",
        "leads\u0301",
    ),
    *("auth.users", "public.leads", '"leads"', "https://evil.example/rest/v1/leads", "//evil.example/leads"),
    *("leads,clients", "leads(*)", "leads;clients", "leads--", "clients", "pg_catalog.pg_user", "information_schema"),
    *(Lying("clients", "leads"), Lying("leads", "leads"), None, 5, b"leads", ["leads"], ("leads",), {"leads": 1}),
    "a" * 100_000,
]
ON_TABLES: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "write": lambda made, table: made.write(table, {"email": "a"}),
    "batch_write": lambda made, table: made.batch_write(table, [{"email": "a"}]),
    "upsert": lambda made, table: made.upsert(table, {"email": "a"}),
    "update": lambda made, table: made.update(table, {"email": "a"}, {"id": "1"}),
    "merged": lambda made, table: made.update(table, {"custom": merge({"a": 1})}, {"id": "1"}),
    "delete": lambda made, table: made.delete(table, {"id": "1"}),
    "read": lambda made, table: made.read(table, "1"),
    "query": lambda made, table: made.query(table),
    "count": lambda made, table: made.count(table),
    "iterate": lambda made, table: anext(aiter(made.iterate(table))),
    "get_columns": lambda made, table: made.get_columns(table),
    "call": lambda made, table: made.call(table),
    "façade's query": lambda made, table: made.readonly().query(table),
    "façade's call": lambda made, table: made.readonly().call(table),
}


@pytest.mark.parametrize("verb", ON_TABLES)
@pytest.mark.parametrize("table", TABLES, ids=shown)
async def test_a_table_that_is_not_listed_is_refused(
    table: Any, verb: str, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """By every verb, in whatever disguise."""
    await refused(ON_TABLES[verb](made, table), TableNotAllowedError, recorder)


@pytest.mark.parametrize("table", TABLES, ids=shown)
async def test_a_table_that_is_not_listed_is_not_looked_into(
    table: Any, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """Nor its rows counted one condition at a time; by their names or through a table that is listed."""
    for ask in (
        lambda: made.query("leads", exists(table)),
        lambda: made.count("leads", not_(exists(table, {"id": "1"}))),
        lambda: made.update("leads", {"tags": []}, exists(table)),
        lambda: made.delete("leads", any_of({"id": "1"}, exists(table))),
        lambda: made.query("conversations", exists("leads", exists(table, {"id": None}))),
        lambda: made.query("leads", include={"conversations": {"filters": exists("leads", exists(table))}}),
    ):
        with pytest.raises((PersistencePermissionError, ValidationError)):
            await ask()
    assert recorder.requests == []


async def test_the_listed_table_is_not(made: AsyncPersistenceService, recorder: Recorder) -> None:
    """Control: the same calls leave for a name that is listed."""
    for verb, call in ON_TABLES.items():
        before = len(recorder.requests)
        raised = await failure(call(made, "search" if "call" in verb else "leads"))
        assert not isinstance(raised, PersistencePermissionError), verb
        assert len(recorder.requests) > before, verb


# --- columns ----------------------------------------------------------------------------------------------------------

COLUMNS: list[Any] = [
    *("id,clients(*)", "...clients(ssn)", "clients!inner()", "clients!leads_client_id_fkey(*)", "contact:email"),
    *(
        "ssn::text",
        "email::text",
        "meta->>email",
        "custom->>ssn",
        "custom->a->b",
        "budget.sum()",
        "count()",
        "id.count()",
    ),
    *(
        " * ",
        "*",
        "",
        "id,ssn",
        "email ",
        " email",
        "email\n",
        "EMAIL",
        "ｅｍａｉｌ",
        "ema\u200bil",
        '"email"',
        "email)",
    ),
    *("phone", "clients.ssn", "clients.id", "leads.id", "or", "and", "not", "not.or", "select", "order", "limit"),
    *("offset", "columns", "on_conflict", "apikey", "id=eq.1&select", "id&select=*", "id%26select", "id;phone"),
    *("full_name", "x" * 64, "x" * 100_000, Lying("clients(*)", "email"), Lying("email", "email"), 5, b"email"),
]
ON_COLUMNS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "select": lambda made, column: made.query("leads", select=[column]),
    "select beside another": lambda made, column: made.query("leads", select=["id", column]),
    "filter": lambda made, column: made.query("leads", {column: 1}),
    "null filter": lambda made, column: made.query("leads", {column: None}),
    "always true filter": lambda made, column: made.query("leads", {column: eq(1)} | {"id": 1}),
    "deep filter": lambda made, column: made.query(
        "leads", not_(any_of({"id": 1}, all_of({column: ne(1)}, {"id": 2})))
    ),
    "order": lambda made, column: made.query("leads", order_by=[column]),
    "second order": lambda made, column: made.query("leads", order_by=["id", column]),
    "count": lambda made, column: made.count("leads", {column: 1}),
    "id_column": lambda made, column: made.read("leads", "1", column),
    "record": lambda made, column: made.write("leads", {"tags": [], column: 1}),
    "second record": lambda made, column: made.batch_write("leads", [{"email": "a"}, {column: 1}]),
    "upsert": lambda made, column: made.upsert("leads", {"tags": [], column: 1}),
    "on_conflict": lambda made, column: made.upsert("leads", {"email": "a"}, [column]),
    "changes": lambda made, column: made.update("leads", {column: 1}, {"id": 1}),
    "sum": lambda made, column: made.update("leads", {column: increment(1)}, {"id": 1}),
    "merged": lambda made, column: made.update("leads", {column: merge({"a": 1})}, {"id": 1}),
    "update": lambda made, column: made.update("leads", {"email": "a"}, {column: 1}),
    "related": lambda made, column: made.query("conversations", exists("leads", {column: 1})),
    "not related": lambda made, column: made.count("conversations", not_(exists("leads", {"id": "1", column: None}))),
    "related twice": lambda made, column: made.query("leads", exists("conversations", exists("leads", {column: 1}))),
    "delete": lambda made, column: made.delete("leads", {column: 1}),
    "façade": lambda made, column: made.readonly().query("leads", {column: 1}),
}


@pytest.mark.parametrize("place", ON_COLUMNS)
@pytest.mark.parametrize("column", COLUMNS, ids=shown)
async def test_a_column_that_may_not_be_named_is_refused(
    column: Any, place: str, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """Embedding, spread, alias, cast, path, aggregate, parameters, oracles: wherever a name can stand.

    What is no text at all is no order either, and refused as that.
    """
    is_malformed = "order" in place and not isinstance(column, str)
    await refused(ON_COLUMNS[place](made, column), ValidationError if is_malformed else ColumnNotAllowedError, recorder)


@pytest.mark.parametrize("place", ON_COLUMNS)
async def test_a_column_that_is_listed_is_not(place: str, made: AsyncPersistenceService, recorder: Recorder) -> None:
    """Control: the same calls leave."""
    assert not isinstance(await failure(ON_COLUMNS[place](made, "email")), PersistencePermissionError)
    assert recorder.requests


ARGUMENTS: list[Any] = ["Word", "word ", "a.b", "a->>b", "", "a=b&c", "clients(*)", Lying("word", "word"), 5]


@pytest.mark.parametrize("name", ARGUMENTS, ids=shown)
async def test_an_argument_that_is_no_plain_name_is_refused(
    name: Any, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """Of a function that may be called."""
    await refused(made.call("search", {name: 1}), ColumnNotAllowedError, recorder)


@pytest.mark.parametrize(
    "select", ["id", "*", "id,clients(*)", b"id", {"id": 1}, {"id"}, 5, [], iter(["id"])], ids=shown
)
async def test_a_projection_that_is_no_list_of_names_is_refused(
    select: Any, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """A bare text is no projection: it could hold a whole one."""
    await refused(made.query("leads", select=select), ValidationError, recorder)


# --- bounds -----------------------------------------------------------------------------------------------------------

MEGABYTE = "x" * 1_000_000
BOUNDS: dict[str, Call] = {
    "limit -1": lambda made: made.query("leads", limit=-1),
    "limit 0": lambda made: made.query("leads", limit=0),
    "limit True": lambda made: made.query("leads", limit=True),
    "limit '5'": lambda made: made.query("leads", limit="5"),
    "limit 1.0": lambda made: made.query("leads", limit=1.0),
    "limit 10**12": lambda made: made.query("leads", limit=10**12),
    "limit 10**5000": lambda made: made.query("leads", limit=10**5000),
    "limit 1001": lambda made: made.query("leads", limit=1001),
    "offset -1": lambda made: made.query("leads", offset=-1),
    "offset True": lambda made: made.query("leads", offset=True),
    "offset 2**63": lambda made: made.query("leads", offset=2**63),
    "offset 10**5000": lambda made: made.query("leads", offset=10**5000),
    "page_size None": lambda made: anext(aiter(made.iterate("leads", page_size=None))),
    "page_size '5'": lambda made: anext(aiter(made.iterate("leads", page_size="5"))),
    "page_size 10**12": lambda made: anext(aiter(made.iterate("leads", page_size=10**12))),
    "max_affected 0": lambda made: made.update("leads", {"email": "a"}, {"id": 1}, max_affected=0),
    "1 MB value": lambda made: made.write("leads", {"email": MEGABYTE}),
    "1 MB document": lambda made: made.write("leads", {"custom": {"a": [MEGABYTE]}}),
    "1 MB in the second row": lambda made: made.batch_write("leads", [{"email": "a"}, {"email": MEGABYTE}]),
    "1 MB of changes": lambda made: made.update("leads", {"email": MEGABYTE}, {"id": 1}),
    "1 MB to merge": lambda made: made.update("leads", {"custom": merge({"a": MEGABYTE})}, {"id": 1}),
    "1 MB argument": lambda made: made.call("search", {"word": MEGABYTE}),
    "1 MB key": lambda made: made.read("leads", MEGABYTE),
    "1 MB filter": lambda made: made.query("leads", {"email": MEGABYTE}),
    "1 MB in a list": lambda made: made.count("leads", {"email": in_(["a", MEGABYTE])}),
    "1 MB in a document": lambda made: made.query("leads", {"custom": contains({"a": MEGABYTE})}),
    "1 MB of words": lambda made: made.query("leads", {"email": text_search(MEGABYTE)}),
    "10,000 values": lambda made: made.query("leads", {"id": in_(range(10_000))}),
    "10,000 tags": lambda made: made.query("leads", {"tags": contains([str(n) for n in range(10_000)])}),
    "1,000 filters": lambda made: made.query("leads", any_of(*({"id": number} for number in range(1000)))),
    "1,000 levels": lambda made: made.query("leads", _deep(1000)),
    "1,000 filters of a delete": lambda made: made.delete("leads", all_of(*({"id": ne(n)} for n in range(1000)))),
    "101 rows": lambda made: made.batch_write("leads", [{"email": "a"}] * 101),
    "no filter of an update": lambda made: made.update("leads", {"email": "a"}, {}),
    "no filter of a delete": lambda made: made.delete("leads", {}),
    "a filter for every row": lambda made: made.delete("leads", not_(any_of())),
    "None as a filter": lambda made: made.delete("leads", None),
    "an empty list": lambda made: made.update("leads", {"email": "a"}, {"id": not_(in_([]))}),
    "a filter of None": lambda made: made.query("leads", {"id": [None]}),
    "NUL": lambda made: made.query("leads", {"email": "a\0"}),
    "a lone surrogate": lambda made: made.write("leads", {"email": "\ud800"}),
    "text for filters": lambda made: made.query("leads", "id=eq.1"),
}


def _deep(levels: int) -> Any:
    tree: Any = {"id": 1}
    for _ in range(levels):
        tree = any_of(tree, {"id": 2})
    return tree


@pytest.mark.parametrize("call", BOUNDS.values(), ids=BOUNDS)
async def test_what_exceeds_a_bound_is_refused(call: Call, made: AsyncPersistenceService, recorder: Recorder) -> None:
    """Rows, offsets, values, lists, filters, batches; and what would select every row."""
    await refused(call(made), ValidationError, recorder)


WITHIN: dict[str, Call] = {
    "limit": lambda made: made.query("leads", limit=1000),
    "value": lambda made: made.write("leads", {"email": "x" * 99_000}),
    "list": lambda made: made.query("leads", {"id": in_(range(500))}, order_by="score"),
    "filters": lambda made: made.query("leads", all_of(*({"id": ne(number)} for number in range(50)))),
    "offset": lambda made: made.query("leads", offset=2**63 - 1),
    "rows": lambda made: made.batch_write("leads", [{"email": "a"}] * 100),
}


@pytest.mark.parametrize("call", WITHIN.values(), ids=WITHIN)
async def test_what_is_within_a_bound_leaves(call: Call, made: AsyncPersistenceService, recorder: Recorder) -> None:
    """Control: the bound itself is allowed."""
    assert "above the policy's" not in str(await failure(call(made)))
    assert recorder.requests


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ['a"b', "a\\b", "a,b", "a)b", "(a", "a.b", "a:b", "a\nb", "a\r\nb", "eq.1", "&id=eq.2", "%", "*", "+", "null"],
)
async def test_a_value_is_never_more_than_a_value(
    value: str, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """Whatever it holds: there are as many parameters as filters, and one line of a target."""
    await made.query("leads", any_of({"email": value}, {"email": in_([value, value])}), 1, order_by="id")
    [request] = recorder.requests
    assert [name for name, _ in request.url.params.multi_items()] == ["select", "or", "order", "limit"]
    assert request.url.raw_path.startswith(b"/rest/v1/leads?")
    assert not set(b"\r\n #") & set(request.url.raw_path)


# --- writes -----------------------------------------------------------------------------------------------------------

WRITES: dict[str, tuple[Call, type[Exception]]] = {
    "tenant": (lambda made: made.write("leads", {"email": "a", "tenant_id": "b"}), ColumnNotAllowedError),
    "created_at": (lambda made: made.write("leads", {"created_at": "2020-01-01"}), ColumnNotAllowedError),
    "role": (lambda made: made.update("leads", {"role": "admin"}, {"id": 1}), ColumnNotAllowedError),
    "score": (lambda made: made.upsert("leads", {"id": "1", "score": 1}), ColumnNotAllowedError),
    "explicit NULL": (lambda made: made.write("leads", {"score": NULL}), ColumnNotAllowedError),
    "second row": (lambda made: made.batch_write("leads", [{"email": "a"}, {"role": "admin"}]), ColumnNotAllowedError),
    "other table": (lambda made: made.write("messages", {"role": "x"}), TableNotAllowedError),
    "delete there": (lambda made: made.delete("messages", {"id": 1}), TableNotAllowedError),
}


@pytest.mark.parametrize(("call", "expected"), WRITES.values(), ids=WRITES)
async def test_no_column_is_assigned_that_the_policy_does_not_list(
    call: Call, expected: type[Exception], made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """Mass assignment: the whole call is refused, a batch as a whole."""
    await refused(call(made), expected, recorder)


TENANT: dict[str, Call] = {
    "another value": lambda made: made.write("leads", {"tenant_id": "b"}),
    "NULL": lambda made: made.write("leads", {"tenant_id": NULL}),
    "empty": lambda made: made.write("leads", {"tenant_id": ""}),
    "a list": lambda made: made.write("leads", {"tenant_id": ["a", "b"]}),
    "upsert": lambda made: made.upsert("leads", {"id": "1", "tenant_id": "b"}),
    "second row": lambda made: made.batch_write("leads", [{"email": "a"}, {"email": "b", "tenant_id": "b"}]),
    "moved": lambda made: made.update("leads", {"tenant_id": "b"}, {"id": 1}),
    "argument": lambda made: made.call("search", {"tenant": "b"}),
}


@pytest.mark.parametrize("call", TENANT.values(), ids=TENANT)
async def test_no_other_tenant_is_named(call: Call, recorder: Recorder) -> None:
    """In what is written and called; filters cannot widen the tenant's, and are answered."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, call={"search"})
    scope = TenantScope("a", arguments={"search": "tenant"})
    await refused(
        call(AsyncPersistenceService(recorder.adapter(), policy=policy, tenant=scope)), ColumnNotAllowedError, recorder
    )


# --- the façade -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["write", "batch_write", "upsert", "update", "delete"])
@pytest.mark.parametrize("how", [getattr, lambda facade, verb: getattr(type(facade), verb).__get__(facade)])
async def test_a_facade_has_no_writing_verb(
    verb: str, how: Any, made: AsyncPersistenceService, recorder: Recorder
) -> None:
    """Looked up on it, or on its class."""
    facade: Any = made.readonly()
    for reader in (facade, facade.with_options(deadline_s=1), facade.readonly()):
        assert not hasattr(reader, verb)
        assert verb not in dir(reader)
        with pytest.raises(AttributeError) as caught:
            how(reader, verb)
        assert how is not getattr or type(caught.value) is ReadOnlyError
    assert recorder.requests == []


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
async def test_a_facade_is_neither_copied_nor_pickled(copied: Any, made: AsyncPersistenceService) -> None:
    """A copy would carry the service out."""
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copied(made.readonly())


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://project.supabase.example",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "ftp://x.example",
        "x.example",
        "https://user:pw@x.example",
        "https://x.example?apikey=1",
        "https://x.example#f",
        "",
        "https://",
        "file:///etc/passwd",
    ],
)
async def test_a_url_that_would_send_the_key_in_the_clear_or_elsewhere_is_refused(url: str) -> None:
    """At construction, before anything could leave."""
    with pytest.raises(ConfigurationError):
        SupabaseAdapter(url, SECRET)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, made: AsyncPersistenceService, recorder: Recorder) -> None:
    """Its target would get the key, and the row."""

    def elsewhere(request: Any) -> Any:
        response = rows()
        response.status_code = status
        response.headers["location"] = "https://evil.example/rest/v1/leads"
        return response

    recorder.respond = elsewhere
    for call in (made.query("leads"), made.write("leads", {"email": "a"})):
        with pytest.raises(PersistenceError):
            await call
    assert {request.url.host for request in recorder.requests} == {"project.supabase.example"}
    assert len(recorder.requests) == 2

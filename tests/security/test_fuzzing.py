"""Whatever is asked for, every request that leaves is one that the policy allows, and every refusal is typed.

The requests are judged by `wire_model`, which knows nothing of the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any, cast

import httpx
import pytest
from hypothesis import find, given, strategies as st

from agent_persistence import (
    Schema,
    TablePolicy,
    ValidationError,
    adjacent,
    all_of,
    any_of,
    asc,
    contains,
    desc,
    eq,
    exists,
    gt,
    ilike,
    in_,
    is_null,
    match,
    ne,
    not_,
    not_in,
    overlaps,
    text_search,
)
from agent_persistence.pipeline.guard import layer as guard
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.query.predicates import Comparison
from agent_persistence.schema_registry import Column, ForeignKey, Table
from agent_persistence.service import AsyncPersistenceService
from tests.backends.doubles import Recorder, rows
from tests.differential.examples import examples
from tests.doubles import Lying
from tests.security import wire_model
from tests.security.fuzzed import SEARCH, Call, Fuzzed

SCHEMA = Schema(
    {
        "leads": Table(
            {
                name: Column("jsonb" if name == "custom" else "text")
                for name in ("id", "email", "phone", "score", "custom", "ssn")
            },
            primary_key=("id",),
            paths=("custom->>role",),
            foreign_keys=(ForeignKey("ssn", "clients"), ForeignKey("email", "messages")),
        ),
        "messages": Table(
            {name: Column("text") for name in ("id", "conversation_id", "role", "content")},
            primary_key=("id",),
            foreign_keys=(ForeignKey("conversation_id", "leads"),),
        ),
        "clients": Table({"id": Column("text"), "ssn": Column("text")}, foreign_keys=(ForeignKey("ssn", "leads"),)),
    }
)
POLICY = TablePolicy(
    read={"leads", "messages"},
    write={"leads", "inquiries"},
    delete={"leads"},
    call={"search"},
    columns={
        "leads": {"read": ["id", "email", "score", "custom"], "write": ["id", "email", "phone", "custom"]},
        "inquiries": {"write": ["email", "body"]},
    },
    rows={"messages": {"role": "user"}},
    max_rows=wire_model.MAX_ROWS,
    max_filters=20,
)

# --- what is drawn ----------------------------------------------------------------------------------------------------

GOOD = ["id", "email", "custom"]
NEAR = ["score", "custom->>role", "phone", "body", "role", "content", "conversation_id"]
EVIL = [
    *("ssn", "*", "", "clients(*)", "...clients(ssn)", "a:email", "email::text", "custom->>ssn", "custom->role", "or"),
    *("and", "not", "not.or", "select", "order", "limit", "offset", "columns", "on_conflict", "apikey", "clients.ssn"),
    *("id,ssn", "id.count()", "id&select=*", "id=eq.1", "id)", "(id", "id\n", "id ", "ID", "ｉｄ", "id\u200b", '"id"'),
    *("id%2Cssn", "../clients", "id/../../clients", "id?x", "id#x", "custom->>role::text", "custom->>role,ssn", "-id"),
]
GOOD_TABLES = ["leads", "messages", "inquiries", "search"]
EVIL_TABLES = [
    *(
        "clients",
        "leads/../clients",
        "../../auth/v1/admin/users",
        "rpc/purge",
        "",
        ".",
        "..",
        "leads/",
        "leads?select=*",
    ),
    *(
        "leads#x",
        "le%61ds",
        "LEADS",
        "leads ",
        "leads\n",
        "ｌｅａｄｓ",
        "auth.users",
        "//evil.example",
        "purge",
        "messages,leads",
    ),
]
fragments = st.text('abdeilmors_,().*:->"\\& =?#%/\n\r\té', max_size=6)


def mostly(common: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nine in ten of the common kind: a call with many parts should not fail by one of them every time."""
    return st.integers(0, 9).flatmap(lambda number: common if number < 9 else rare)


def names(good: list[str], evil: list[str]) -> st.SearchStrategy[Any]:
    """Good names, bad names, and what a patient stranger would make of both."""
    known = st.sampled_from(good)
    glued = st.tuples(known, st.sampled_from(["", ",", ".", "->>", "::", ":", "(", "&", "/", " "]), known | fragments)
    bad = st.one_of(
        st.sampled_from(evil),
        st.sampled_from(NEAR),
        glued.map("".join),
        fragments,
        st.builds(Lying, st.sampled_from(evil), known),
        st.sampled_from([None, 5, b"id", ("id",)]),
    )
    return mostly(known, bad)


columns, tables = names(GOOD, EVIL), names(GOOD_TABLES, EVIL_TABLES)
texts = fragments | st.sampled_from(["x", "eq.1", 'a"b', "a\\", "),ssn.eq.1", "&select=*", "1,ssn.is.null", "user"])
odd_values = st.integers(-5, 2**70) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.none()
values = mostly(texts, odd_values)
conditions = st.one_of(
    values,
    values.filter(lambda value: value is not None).flatmap(lambda value: st.sampled_from([gt(value), ne(value)])),
    st.lists(texts, max_size=4).flatmap(lambda found: st.sampled_from([in_(found), not_in(found), contains(found)])),
    texts.map(lambda text: text_search(text)),
    st.lists(texts, max_size=3).flatmap(lambda found: st.sampled_from([eq(found), ne(found)])),
    st.sampled_from([overlaps, contains, adjacent]).flatmap(lambda op: texts.map(lambda text: _ranged(op, text))),
    texts.map(lambda text: match(text)),
    texts.map(lambda text: ilike(text.replace("\\", "").replace("*", ""))),
    st.just(is_null()),
    st.builds(not_, st.builds(gt, texts)),
)


def _ranged(operator: Any, text: str) -> Any:
    """A comparison with a range, whose bound may be anything that makes one."""
    try:
        return operator(f"[{text},)")
    except ValidationError:
        return operator("(,1]")


hashable = columns.filter(lambda name: name.__hash__ is not None)
leaves: st.SearchStrategy[Any] = st.dictionaries(hashable, conditions, min_size=1, max_size=3) | st.builds(
    Comparison, st.sampled_from([gt("").operator, is_null().operator]), texts, columns
)
ways = st.sampled_from([("leads", "conversation_id"), ("messages", "conversation_id"), ("messages", "email")])
related = mostly(
    ways, st.tuples(tables, st.none() | columns) | st.sampled_from([("clients", None), ("clients", "ssn")])
)
"""Tables by their foreign keys, whatever table the filter is of."""
filters = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda terms: ("any_of", terms))
        | st.lists(inner, max_size=3).map(lambda terms: ("all_of", terms))
        | inner.map(lambda term: ("not_", [term]))
        | st.tuples(related, inner).map(lambda drawn: ("exists", [drawn]))
        | st.tuples(related, inner).map(lambda drawn: ("not_", [("exists", [drawn])]))
    ),
    max_leaves=5,
)
orders = columns | st.lists(columns | st.builds(asc, columns) | st.builds(desc, columns), min_size=1, max_size=3)
records = st.dictionaries(hashable, mostly(values, st.lists(texts, max_size=2)), min_size=1, max_size=4)
numbers = mostly(st.none() | st.integers(1, 1000), st.sampled_from([True, "5", 10**30, 1.5, -1, 1001]))
selects = mostly(st.none() | st.lists(columns, min_size=1, max_size=4), columns)


class Options(dict[str, Any]):
    """Arguments by keyword."""


ignoring = st.builds(
    lambda key: Options(on_duplicate="ignore", on_conflict=key), st.none() | st.lists(columns, min_size=1, max_size=2)
)
estimated = st.builds(Options, estimated=st.booleans())

READING: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "read": st.tuples(values, columns),
    "query": st.tuples(st.none() | filters, numbers, st.none() | orders, st.booleans(), selects, numbers),
    "count": st.tuples(st.none() | filters, estimated),
    "iterate": st.tuples(st.none() | filters, numbers, columns, selects),
    "get_columns": st.tuples(),
    "call": st.tuples(st.none() | st.dictionaries(names(["word", "most"], EVIL).filter(
        lambda name: name.__hash__ is not None), values, max_size=3)),
}  # fmt: skip
WRITING: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "write": st.tuples(records) | st.tuples(records, ignoring),
    "batch_write": st.tuples(st.lists(records, max_size=3)) | st.tuples(st.lists(records, max_size=3), ignoring),
    "upsert": st.tuples(records, st.none() | st.lists(columns, max_size=3)),
    "update": st.tuples(records, filters),
    "delete": st.tuples(filters),
}


def calls(
    of: dict[str, st.SearchStrategy[tuple[Any, ...]]], on: Callable[[str], st.SearchStrategy[Any]]
) -> st.SearchStrategy[Call]:
    return st.sampled_from([*of]).flatmap(
        lambda verb: st.tuples(
            st.just(verb), st.tuples(on(verb), of[verb]).map(lambda drawn: (drawn[0], *drawn[1])), st.booleans()
        )
    )


HOME = {"call": ["search"], "write": ["leads", "inquiries"], "batch_write": ["leads", "inquiries"], "upsert": ["leads"],
        "update": ["leads"], "delete": ["leads"]}  # fmt: skip


def at_home(verb: str) -> st.SearchStrategy[Any]:
    """A table that the verb may be used on."""
    return st.sampled_from(HOME.get(verb, ["leads", "leads", "messages"]))


reading, writing = calls(READING, at_home), calls(WRITING, at_home)
anywhere = calls({**READING, **WRITING}, lambda verb: mostly(tables, at_home(verb)))

# --- what is done -----------------------------------------------------------------------------------------------------


def _filters(drawn: Any) -> Any:
    """The tree that a drawn one stands for; what has no form is a refusal like any other."""
    if isinstance(drawn, tuple) and drawn and drawn[0] in _JUNCTIONS:
        return _JUNCTIONS[drawn[0]](*map(_filters, drawn[1]))
    if isinstance(drawn, tuple) and drawn[0] == "exists":
        (((table, via), term),) = drawn[1]
        return exists(table, _filters(term), via=via)
    return drawn


_JUNCTIONS: dict[Any, Callable[..., Any]] = {"any_of": any_of, "all_of": all_of, "not_": not_}


def _answer(request: httpx.Request) -> httpx.Response:
    response = rows({"id": "1", "email": "a", "score": "2", "custom": None, "ssn": "secret", "content": "c"})
    response.headers["content-range"] = "*/1"
    return response


async def called(service: AsyncPersistenceService, call: Call) -> Any:
    verb, (table, *arguments), is_facade = call
    target: Any = service.readonly() if is_facade and verb in READING else service
    named = arguments.pop() if arguments and isinstance(arguments[-1], Options) else {}
    arguments = [_filters(argument) for argument in arguments]
    if verb == "query":
        return await target.query(table, *arguments[:-1], offset=arguments[-1])
    if verb == "iterate":
        options = dict(zip(("page_size", "order_by", "select"), arguments[1:], strict=True))
        async with aclosing(cast("Any", target.iterate(table, arguments[0], **options))) as found:
            return [await anext(found, None)]
    return await getattr(target, verb)(table, *arguments, **named)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed[httpx.Request]]:
    recorder = Recorder(_answer)
    service = AsyncPersistenceService(
        recorder.adapter(), policy=POLICY, schema=SCHEMA, client_keys=False, row_cap=1000, retry=False
    )
    with Fuzzed(service, called, recorder.requests, wire_model.check).running() as made:
        yield made


@given(call=reading)
@examples(400)
def test_a_reading_call_asks_for_what_the_policy_allows(fuzzed: Fuzzed[httpx.Request], call: Call) -> None:
    """Projections, filters, orders, pages, keys and arguments of the stranger's making."""
    fuzzed.attack(call)


@given(call=writing)
@examples(400)
def test_a_writing_call_writes_what_the_policy_allows(fuzzed: Fuzzed[httpx.Request], call: Call) -> None:
    """Records, targets of merges, changes and filters of the stranger's making."""
    fuzzed.attack(call)


@given(call=anywhere)
@examples(400)
def test_a_call_goes_where_the_policy_allows(fuzzed: Fuzzed[httpx.Request], call: Call) -> None:
    """Tables and functions of the stranger's making."""
    fuzzed.attack(call)


# --- controls ---------------------------------------------------------------------------------------------------------

WEAKENED: dict[str, tuple[Any, str, Any]] = {
    "no guard": (Guard, "__call__", lambda self, operation, context, call_next: call_next(operation, context)),
    "no column rules": (Guard, "_check_columns", lambda self, operation, rules: None),
    "no narrowing": (Guard, "_within", lambda self, operation, rules: operation),
    "no related tables": (Guard, "_held_elsewhere", lambda self, operation: operation),
    "no related rows": (Guard, "_held", lambda self, query: query),
    "no names": (guard, "are_columns", lambda columns: True),
    "no stripping": (guard, "_stripped", lambda value, columns: value),
}


@pytest.mark.parametrize("weakness", WEAKENED)
@pytest.mark.parametrize("drawn", [reading, anywhere], ids=["reading", "anywhere"])
def test_the_fuzzers_find_each_weakness(
    weakness: str, drawn: st.SearchStrategy[Call], fuzzed: Fuzzed[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: with a part of the guard taken out, a request leaves that should not, or a column comes back."""
    monkeypatch.setattr(*WEAKENED[weakness])
    assert find(drawn, fuzzed.leaks, settings=SEARCH)


def test_the_calls_are_not_all_refused(fuzzed: Fuzzed[httpx.Request]) -> None:
    """Control: an adversary that is always refused, or never, would prove nothing."""
    assert 0.1 < fuzzed.share_sent(reading | writing) < 0.9

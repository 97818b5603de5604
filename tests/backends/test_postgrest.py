"""The PostgREST codec: calls to exact requests, responses to rows or errors."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given, strategies as st

from agent_persistence.backends.postgrest.failures import parse_error
from agent_persistence.backends.postgrest.parsing import (
    parse_columns,
    parse_count,
    parse_rows,
    parse_stored,
    parse_value,
)
from agent_persistence.backends.postgrest.rendering import (
    MAX_HEAD,
    REST_PATH,
    checked_head,
    render_call,
    render_count,
    render_delete,
    render_insert,
    render_openapi,
    render_read,
    render_select,
    render_update,
)
from agent_persistence.backends.transport.messages import MisdeliveredError, Request, Response
from agent_persistence.exceptions import (
    AdapterError,
    AuthenticationError,
    ConflictError,
    FailureState,
    RowsDroppedError,
    RowSecurityError,
    ValidationError,
)
from agent_persistence.filters import (
    Filters,
    all_of,
    any_of,
    contained_by,
    contains,
    eq,
    exists,
    gt,
    gte,
    ilike,
    imatch,
    in_,
    is_false,
    is_null,
    is_true,
    like,
    lt,
    lte,
    match,
    ne,
    not_,
    not_in,
    not_null,
    overlaps,
    parse_filters,
    parse_some_rows,
    text_search,
)
from agent_persistence.operations import Result
from agent_persistence.query.identifiers import RESERVED
from agent_persistence.query.ordering import OrderBy, asc, desc, parse_order
from agent_persistence.query.predicates import Comparison, Operator, fold
from agent_persistence.query.records import Record
from agent_persistence.schema.links import linked
from agent_persistence.schema_registry import default_schema
from tests.backends.doubles import everything_said_by
from tests.doubles import shown

REJECTED, RETRYABLE, AMBIGUOUS = FailureState.REJECTED, FailureState.RETRYABLE, FailureState.AMBIGUOUS
APPLIED = FailureState.APPLIED
SENTINEL = "s3ntinel-of-a-row"
JSON = {"content-type": "application/json; charset=utf-8"}
HTML = {"content-type": "text/html; charset=utf-8"}
JSON_BODY = ("Content-Type", "application/json")
COUNTED = ("Prefer", "count=exact")


def where(filters: Filters | None) -> str:
    """The query string of the filters, behind `select=*`."""
    target = render_select("t", parse_filters("t", filters)).target
    return target.removeprefix("/rest/v1/t?select=*").removeprefix("&")


# --- requests ---------------------------------------------------------------------------------------------------------


def test_conditions_on_related_rows_are_rows_without_columns_that_there_must_be_or_not() -> None:
    """Each under a name of its own, behind which stand its conditions; those of the table itself stay as they are."""
    talks = exists("conversations", all_of({"opened": True}, not_(exists("messages", {"role": "user"}))))
    predicate = linked(default_schema(), "leads", fold(all_of({"status": "new"}, talks, not_(exists("clients")))))
    path, _, query = render_select("leads", predicate, select=["id"], limit=5).target.partition("?")
    zero, one, two = (f"_agent_persistence_{number}" for number in range(3))
    names = [part.partition("=")[0] for part in query.split("&")]
    assert path == "/rest/v1/leads"
    assert set(query.split("&")) == {
        f"select=id,{zero}:conversations%21lead_id({two}:messages%21conversation_id()),{one}:clients%21client_id()",
        *("status=eq.new", f"{zero}=not.is.null", f"{one}=is.null", "limit=5"),
        *(f"{zero}.opened=eq.true", f"{zero}.{two}=is.null", f"{zero}.{two}.role=eq.user"),
    }
    assert len(names) == len({*names})


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        (None, ""),
        ({}, ""),
        ({"a": "x"}, "a=eq.x"),
        ({"a": ""}, "a=eq."),
        ({"a": 1}, "a=eq.1"),
        ({"a": -0.5}, "a=eq.-0.5"),
        ({"a": True}, "a=eq.true"),
        ({"a": 9007199254740993}, "a=eq.9007199254740993"),
        ({"a": None}, "a=is.null"),
        ({"a": ne("x")}, "a=neq.x"),
        ({"a": gt(1)}, "a=gt.1"),
        ({"a": gte(1)}, "a=gte.1"),
        ({"a": lt(1)}, "a=lt.1"),
        ({"a": lte(1)}, "a=lte.1"),
        ({"a": in_([1, 2.5, True])}, "a=in.(1,2.5,true)"),
        ({"a": in_(["x", "y"])}, "a=in.(%22x%22,%22y%22)"),
        ({"a": in_(["", "x"])}, "a=in.(%22%22,%22x%22)"),
        ({"a": not_in(["x"])}, "a=not.in.(%22x%22)"),
        ({"a": like("x%_\\%")}, "a=like.x%25_%5C%25"),
        ({"a": ilike("%x")}, "a=ilike.%25x"),
        ({"a": is_null()}, "a=is.null"),
        ({"a": not_null()}, "a=not.is.null"),
        ({"a": is_true()}, "a=is.true"),
        ({"a": is_false()}, "a=is.false"),
    ],
)
def test_every_operator_is_one_parameter(filters: Filters | None, query: str) -> None:
    """A condition is `column=operator.value`; None and `is_null()` are `is.null`."""
    assert where(filters) == query


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({"a": not_(eq("x"))}, "a=not.eq.x"),
        ({"a": not_(in_([1]))}, "a=not.in.(1)"),
        ({"a": not_(is_null())}, "a=not.is.null"),
        ({"a": not_(is_true())}, "a=not.is.true"),
        (not_({"a": 1, "b": 2}), "and=(not.and(a.eq.1,b.eq.2))"),
        (not_(any_of({"a": 1}, {"b": 2})), "and=(not.or(a.eq.1,b.eq.2))"),
        (any_of({"a": not_(eq(1))}, {"b": 2}), "or=(a.not.eq.1,b.eq.2)"),
        (any_of(not_({"a": 1, "b": 2}), {"c": 3}), "or=(not.and(a.eq.1,b.eq.2),c.eq.3)"),
    ],
)
def test_a_negation_stands_before_the_operator_or_the_group(filters: Filters, query: str) -> None:
    """`not.` precedes an operator, `and(` or `or(`."""
    assert where(filters) == query


@pytest.mark.parametrize("twice", [not_(not_null()), not_(not_in([1])), not_(not_(eq(1))), not_(not_(not_null()))])
@pytest.mark.parametrize("beside", [[], [{"b": 2}]])
def test_no_operator_is_negated_twice(twice: Any, beside: list[Filters]) -> None:
    """PostgREST's grammar has one `not.` before an operator: `a.not.not.is.null` is a parse error (PGRST100)."""
    query = where(any_of({"a": twice}, *beside))
    assert "not.not" not in query
    assert re.search(r"\ba[.=]", query)


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({"a": gte(1), "b": "x"}, "a=gte.1&b=eq.x"),
        ({"a": all_of(gte(1), lt(9))}, "a=gte.1&a=lt.9"),
        ({"a": any_of(lt(1), gt(9))}, "or=(a.lt.1,a.gt.9)"),
        (any_of({"a": 1}, {"b": None}), "or=(a.eq.1,b.is.null)"),
        (any_of({"a": 1, "b": 2}, {"c": 3}), "or=(and(a.eq.1,b.eq.2),c.eq.3)"),
        (all_of(any_of({"a": 1}, {"b": 2}), any_of({"c": 3}, {"d": 4})), "or=(a.eq.1,b.eq.2)&or=(c.eq.3,d.eq.4)"),
        (any_of(all_of({"a": 1}, any_of({"b": 2}, {"c": 3})), {"d": 4}), "or=(and(a.eq.1,or(b.eq.2,c.eq.3)),d.eq.4)"),
        (any_of({"a": in_([1, 2])}, {"b": not_in([3])}), "or=(a.in.(1,2),b.not.in.(3))"),
        (any_of({"a": ne("x")}, {"b": not_null()}), "or=(a.neq.%22x%22,b.not.is.null)"),
    ],
)
def test_conditions_nest_as_logical_operators(filters: Filters, query: str) -> None:
    """Conditions that must all hold are parameters of their own; alternatives are one `or=(…)`."""
    assert where(filters) == query


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({"a": in_([""])}, "a=eq."),
        ({"a": not_in([""])}, "a=neq."),
        (any_of({"a": in_([""])}, {"b": 1}), "or=(a.eq.%22%22,b.eq.1)"),
    ],
)
def test_a_list_of_one_empty_text_is_an_equality(filters: Filters, query: str) -> None:
    """PostgREST reads `in.("")` as the empty list."""
    assert where(filters) == query


MANY = {"id": in_([f"{SENTINEL}-{number}" for number in range(5000)])}


@pytest.mark.parametrize(
    "request_",
    [
        render_select("t", parse_filters("t", MANY)),
        render_delete("t", parse_some_rows("t", MANY)),
        render_update("t", {"a": 1}, parse_some_rows("t", MANY)),
    ],
    ids=["select", "delete", "update"],
)
def test_a_filter_that_the_server_would_not_read_is_refused(request_: Request) -> None:
    """PostgREST reads 50 KB of path, query and headers; half a filter would change other rows."""
    with pytest.raises(ValidationError, match="ask for fewer values") as caught:
        checked_head(request_)
    assert SENTINEL not in everything_said_by(caught.value)


def test_headers_count_with_the_url() -> None:
    """A long access token leaves less for the filter."""
    fits = Request("GET", "/rest/v1/t?id=" + "x" * (MAX_HEAD - 1000))
    assert checked_head(fits) == fits
    with pytest.raises(ValidationError, match="with its headers"):
        checked_head(Request("GET", fits.target, (("Authorization", "Bearer " + "x" * 1000),)))


SPECIAL = [
    ("a,b", "a,b", "a,b"),
    ("a.b", "a.b", "a.b"),
    ("a:b", "a:b", "a:b"),
    ("(a)", "(a)", "(a)"),
    ('"', "%22", "%5C%22"),
    ("\\", "%5C", "%5C%5C"),
    ('\\"', "%5C%22", "%5C%5C%5C%22"),
    ("'", "%27", "%27"),
    ("*", "*", "*"),
    ("%", "%25", "%25"),
    ("%22", "%2522", "%2522"),
    ("&b=eq.1", "%26b%3Deq.1", "%26b%3Deq.1"),
    ("#x", "%23x", "%23x"),
    ("?/", "%3F%2F", "%3F%2F"),
    ("a+b", "a%2Bb", "a%2Bb"),
    (" a b ", "%20a%20b%20", "%20a%20b%20"),
    ("\n\r\t", "%0A%0D%09", "%0A%0D%09"),
    ("null", "null", "null"),
    ("ß漢🚀", "%C3%9F%E6%BC%A2%F0%9F%9A%80", "%C3%9F%E6%BC%A2%F0%9F%9A%80"),
    ("{x}[y];@!$~^`|<>", "%7Bx%7D%5By%5D%3B%40%21%24~%5E%60%7C%3C%3E", "%7Bx%7D%5By%5D%3B%40%21%24~%5E%60%7C%3C%3E"),
]


@pytest.mark.parametrize(("text", "raw", "_quoted"), SPECIAL)
def test_a_value_at_the_top_level_is_raw(text: str, raw: str, _quoted: str) -> None:
    """There PostgREST takes every character literally, quotes included; only the URL's own encoding is applied."""
    assert where({"a": text, "b": 1}) == f"a=eq.{raw}&b=eq.1"


@pytest.mark.parametrize(("text", "_raw", "quoted"), SPECIAL)
def test_a_value_inside_parentheses_is_quoted(text: str, _raw: str, quoted: str) -> None:
    """In `in.(…)`, `or=(…)` and `and=(…)` text stands in double quotes; backslash and quote are escaped."""
    assert where({"a": in_([text, "z"])}) == f"a=in.(%22{quoted}%22,%22z%22)"
    assert where(any_of({"a": text}, {"b": 1})) == f"or=(a.eq.%22{quoted}%22,b.eq.1)"
    assert where(not_({"a": text, "b": 1})) == f"and=(not.and(a.eq.%22{quoted}%22,b.eq.1))"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_column_named_like_a_parameter_is_no_parameter(name: str) -> None:
    """A declared column called `select` or `or` is asked for within `and=(…)`, where names are only names."""
    assert where({name: "x"}) == f"and=({name}.eq.%22x%22)"
    assert where({name: not_(eq("x"))}) == f"and=({name}.not.eq.%22x%22)"


@pytest.mark.parametrize(
    ("path", "rendered"),
    [
        ("c->>k", "c-%3E%3Ek"),
        ("c->k", "c-%3Ek"),
        ("c->a_1->Bc->>d", "c-%3Ea_1-%3EBc-%3E%3Ed"),
        ("c->k->0", "c-%3Ek-%3E0"),
        ("c->>-1", "c-%3E%3E-1"),
        ("order->>select", "order-%3E%3Eselect"),
    ],
)
def test_a_path_is_written_as_it_is_wherever_something_is_read(path: str, rendered: str) -> None:
    """Without quotes, which would make one name of it, and selected under an alias, so that no two paths collide."""
    assert where({path: "x"}) == f"{rendered}=eq.x"
    assert where({path: not_(in_(["x"]))}) == f"{rendered}=not.in.(%22x%22)"
    assert where({path: not_(like("x"))}) == f"{rendered}=not.like.x"
    assert where(any_of({path: "x"}, {path: not_(gt(1))})) == (f"or=({rendered}.eq.%22x%22,{rendered}.not.gt.1)")
    request = render_select("t", None, select=[path, "b"], order=(desc(path, nulls="last"),))
    assert request.target == (f"/rest/v1/t?select=%22{rendered}%22:{rendered},b&order={rendered}.desc.nullslast")


def test_a_path_is_no_column_to_write() -> None:
    """There it is a name like any other, which the table does not have."""
    request = render_insert("t", [{"c->>k": 1}, {"b": 1}], on_conflict=["c->>k"])
    assert request.target == "/rest/v1/t?on_conflict=%22c-%3E%3Ek%22&columns=%22c-%3E%3Ek%22,b"


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("First Name", "%22First%20Name%22"),
        ("a.b", "%22a.b%22"),
        ("a,b", "%22a,b%22"),
        ("a->>b c", "%22a-%3E%3Eb%20c%22"),
        ("a->>b->c", "%22a-%3E%3Eb-%3Ec%22"),
        ("clients(*)", "%22clients(*)%22"),
        ('say "x"', "%22say%20%5C%22x%5C%22%22"),
        ("back\\slash", "%22back%5C%5Cslash%22"),
        ("größe", "%22gr%C3%B6%C3%9Fe%22"),
        ("1st", "%221st%22"),
    ],
)
def test_an_odd_column_name_is_quoted_wherever_it_stands(name: str, rendered: str) -> None:
    """A name that is no plain identifier is a quoted name: it cannot embed, cast, alias or sort by anything else."""
    assert where({name: 1}) == f"and=({rendered}.eq.1)"
    assert where(any_of({name: 1}, {"b": 2})) == f"or=({rendered}.eq.1,b.eq.2)"
    request = render_select("t", None, select=[name, "b"], order=(asc(name),))
    assert request.target == f"/rest/v1/t?select={rendered},b&order={rendered}.asc"
    records: list[Record] = [{name: 1}, {"b": 1}]
    request = render_insert("t", records, on_conflict=[name])
    assert request.target == f"/rest/v1/t?on_conflict={rendered}&columns={rendered},b"


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, "select=*"),
        ({"select": ["id", "email"]}, "select=id,email"),
        ({"limit": 10}, "select=*&limit=10"),
        ({"limit": 0}, "select=*&limit=0"),
        ({"limit": 10, "offset": 20}, "select=*&limit=10&offset=20"),
        ({"offset": 0}, "select=*"),
    ],
)
def test_projection_limit_and_offset_are_parameters(asked: dict[str, Any], query: str) -> None:
    """`select` is always sent; an offset of 0 is not."""
    assert render_select("t", None, **asked) == Request("GET", f"/rest/v1/t?{query}")


@pytest.mark.parametrize(
    ("order_by", "descending", "query"),
    [
        ("a", False, "a.asc"),
        ("a", True, "a.desc"),
        (desc("a"), False, "a.desc"),
        ([desc("a"), "b", asc("c")], False, "a.desc,b.asc,c.asc"),
    ],
)
def test_the_order_names_column_and_direction(order_by: OrderBy, descending: bool, query: str) -> None:
    """The most significant key comes first, every key with its direction."""
    target = render_select("t", None, order=parse_order("t", order_by, descending)).target
    assert target == f"/rest/v1/t?select=*&order={query}"


def test_one_record_is_one_json_object() -> None:
    """A write is a POST of the record that asks for the row in return."""
    request = render_insert("leads", [{"email": "ä@a.example", "custom": {"k": [1, None]}, "notes": None}])
    assert (request.method, request.target) == ("POST", "/rest/v1/leads")
    assert request.headers == (JSON_BODY, ("Prefer", "return=representation, count=exact"))
    assert request.body == '{"email":"ä@a.example","custom":{"k":[1,null]},"notes":null}'.encode()


@pytest.mark.parametrize("second", [{"a": 3, "b": 4}, {"b": 4, "a": 3}])
def test_records_with_the_same_keys_are_one_plain_array(second: dict[str, int]) -> None:
    """Neither `columns` nor `missing` is needed where no record lacks a key, whatever the order of the keys."""
    request = render_insert("t", [{"a": 1, "b": 2}, second])
    assert (request.target, request.headers[1]) == ("/rest/v1/t", ("Prefer", "return=representation, count=exact"))
    assert json.loads(request.body) == [{"a": 1, "b": 2}, second]


def test_records_with_different_keys_name_the_columns_and_ask_for_defaults() -> None:
    """Without `missing=default` PostgREST would write NULL where a record lacks a column."""
    request = render_insert("t", [{"a": 1, "b": 2}, {"c": 3, "a": 4}])
    assert request.target == "/rest/v1/t?columns=a,b,c"
    assert request.headers[1] == ("Prefer", "return=representation, count=exact, missing=default, handling=strict")
    assert request.body == b'[{"a":1,"b":2},{"c":3,"a":4}]'


@pytest.mark.parametrize(
    ("on_conflict", "target"),
    [((), "/rest/v1/t"), (["id"], "/rest/v1/t?on_conflict=id"), (["a", "b"], "/rest/v1/t?on_conflict=a,b")],
)
def test_an_upsert_merges_by_the_target_or_the_primary_key(on_conflict: Sequence[str], target: str) -> None:
    """An empty target leaves the choice to the server, which takes the primary key."""
    request = render_insert("t", [{"a": 1}], on_conflict=on_conflict)
    assert (request.target, request.body) == (target, b'{"a":1}')
    assert request.headers[1] == ("Prefer", "return=representation, count=exact, resolution=merge-duplicates")


def test_a_plain_write_never_merges() -> None:
    """Control for upsert: without a conflict target there is no `resolution`."""
    assert "resolution" not in repr(render_insert("t", [{"a": 1}]).headers)
    leaving = render_insert("t", [{"a": 1}], on_conflict=["b"], merges=False)
    assert "resolution=ignore-duplicates" in dict(leaving.headers)["Prefer"]
    assert leaving.target == "/rest/v1/t?on_conflict=b"


def test_the_same_call_gives_the_same_bytes() -> None:
    """A retry sends what the first attempt sent."""
    records: list[Record] = [{"b": 1, "a": {"y": 1, "x": 2}}, {"c": 1}]
    assert render_insert("t", records) == render_insert("t", records)


def test_a_count_is_a_page_of_no_rows() -> None:
    """`count=exact` puts the total into Content-Range."""
    request = render_count("leads", parse_filters("leads", {"status": "new"}))
    assert request == Request("GET", "/rest/v1/leads?select=*&status=eq.new&limit=0", (("Prefer", "count=exact"),))


SOME = parse_some_rows("t", {"id": 7, "status": ne("won")})


def test_an_update_is_a_patch_of_the_selected_rows() -> None:
    """The filter stands in the URL, the changes in the body; the rows are asked for."""
    assert render_update("t", {"status": "won", "notes": None}, SOME) == Request(
        "PATCH",
        "/rest/v1/t?id=eq.7&status=neq.won",
        (JSON_BODY, ("Prefer", "return=representation")),
        b'{"status":"won","notes":null}',
    )


def test_a_delete_has_a_filter_and_no_body() -> None:
    """The rows that are gone are asked for."""
    assert render_delete("t", SOME) == Request(
        "DELETE", "/rest/v1/t?id=eq.7&status=neq.won", (("Prefer", "return=representation"),)
    )


def test_a_bound_on_the_affected_rows_is_strict() -> None:
    """`limit` would be ignored since PostgREST 13; a `max-affected` that is not strict would be, too."""
    for request in (render_update("t", {"a": 1}, SOME, max_affected=2), render_delete("t", SOME, max_affected=2)):
        assert request.headers[-1] == ("Prefer", "return=representation, handling=strict, max-affected=2")
        assert "limit" not in request.target


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        ({"n": 5, "b": True}, "?n=5&b=true"),
        ({"text": 'a,b "c" & d=e'}, "?text=a,b%20%22c%22%20%26%20d%3De"),
    ],
)
def test_a_reading_call_is_a_get(arguments: dict[str, Any], query: str) -> None:
    """PostgREST runs it in a read-only transaction. It asks how many rows there are, so that a cut is seen."""
    assert render_call("f", arguments, by_url=True) == Request("GET", f"/rest/v1/rpc/f{query}", (COUNTED,))


def test_a_writing_call_is_a_post() -> None:
    """The arguments are one JSON object."""
    assert render_call("f", {"a": None, "b": [1]}, by_url=False) == Request(
        "POST", "/rest/v1/rpc/f", (JSON_BODY, COUNTED), b'{"a":null,"b":[1]}'
    )


@pytest.mark.parametrize(
    "argument",
    [
        None,
        "x" * 5000,
        [],
        [1, 2],
        ["a", None],
        [[1], [2]],
        {},
        {"a": [1]},
        "5",
        "null",
        "true",
        "[1,2]",
        '"text"',
        " 5 ",
    ],
)
def test_an_argument_whose_meaning_a_url_would_change_goes_by_post(argument: Any) -> None:
    """There a list is an array of PostgreSQL's, one element of a VARIADIC, or no JSON; and a parameter of type json
    reads a text that is a document as that. What is longer than 2 KB goes by POST as well, and must mean the same."""
    assert render_call("f", {"a": argument}, by_url=True).method == "POST"


@pytest.mark.parametrize("arguments", [{name: 1} for name in sorted(RESERVED)] + [{"q": "eq.x"}, {"q": "not.in.(1)"}])
def test_no_argument_is_read_as_a_parameter_or_a_filter(arguments: dict[str, Any]) -> None:
    """In the URL of a call PostgREST reads `limit=5` as a limit, and `q=eq.x` as a filter of the result."""
    try:
        request = render_call("f", arguments, by_url=True)
    except ValidationError:
        return
    assert request.method == "POST"


@pytest.mark.parametrize("function", ["../leads", "f/../../leads", "f?a=1", "f#", "a b"])
@pytest.mark.parametrize("by_url", [False, True])
def test_a_hostile_function_name_stays_below_rpc(function: str, by_url: bool) -> None:
    """One segment, percent-encoded."""
    path = render_call(function, {"a": 1}, by_url=by_url).target.partition("?")[0]
    segment = path.removeprefix("/rest/v1/rpc/")
    assert "/" not in segment
    assert unquote(segment) == function


def test_columns_are_asked_of_the_openapi_description() -> None:
    """The root of the REST path, as OpenAPI."""
    assert render_openapi() == Request("GET", "/rest/v1/", (("Accept", "application/openapi+json"),))


@pytest.mark.parametrize(
    ("table", "segment"),
    [
        ("../clients", "..%2Fclients"),
        ("../../auth/v1/admin/users", "..%2F..%2Fauth%2Fv1%2Fadmin%2Fusers"),
        ("leads/../clients", "leads%2F..%2Fclients"),
        ("leads/", "leads%2F"),
        ("rpc/purge", "rpc%2Fpurge"),
        ("leads?select=*", "leads%3Fselect%3D%2A"),
        ("leads#x", "leads%23x"),
        ("le%61ds", "le%2561ds"),
        ("leads\r\nX: y", "leads%0D%0AX%3A%20y"),
        ("https://evil.example/x", "https%3A%2F%2Fevil.example%2Fx"),
        ("\\\\evil", "%5C%5Cevil"),
    ],
)
def test_a_hostile_table_name_stays_one_percent_encoded_segment(table: str, segment: str) -> None:
    """The codec is the second line behind the guard: no name leaves the REST path or adds a parameter."""
    assert render_select(table, None).target == f"/rest/v1/{segment}?select=*"
    assert render_insert(table, [{"a": 1}]).target == f"/rest/v1/{segment}"


sql_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_IN_PARENTHESES = re.compile(
    r'\((?P<name>[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)*")\.eq\."(?P<value>(?:[^"\\]|\\.)*)"\)', re.DOTALL
)


def unescaped(quoted: str) -> str:
    """PostgREST's quoting undone: a backslash makes the next character literal."""
    return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


def told(parameter: tuple[str, str]) -> tuple[str, str]:
    """The column and the text that a server reads from an equality."""
    name, value = parameter
    if name != "and":
        return name, value.removeprefix("eq.")
    found = _IN_PARENTHESES.fullmatch(value)
    assert found, value
    column = found["name"]
    return unescaped(column[1:-1]) if column.startswith('"') else column, unescaped(found["value"])


@given(
    table=sql_text.filter(lambda name: name not in ("", ".", "..")),
    filters=st.dictionaries(sql_text.filter(lambda name: name != "*"), sql_text, min_size=1, max_size=5),
)
def test_any_names_and_texts_come_out_as_they_went_in(table: str, filters: dict[str, str]) -> None:
    """The path has one segment behind /rest/v1/, and each condition is one parameter that says what was asked."""
    path, _, query = render_select(table, parse_filters("t", filters)).target.partition("?")
    prefix, segment = path[: len(REST_PATH)], path[len(REST_PATH) :]
    assert (prefix, unquote(segment, errors="strict")) == (REST_PATH, table)
    assert not set("/?#") & set(segment)
    select, *conditions = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    assert select == ("select", "*")
    assert [told(condition) for condition in conditions] == list(filters.items())


@given(
    table=sql_text.filter(lambda name: name not in ("", ".", "..")),
    column=sql_text.filter(lambda name: name != "*") | st.sampled_from(["id", "c->>k", "c d->>k", *sorted(RESERVED)]),
    key=sql_text,
)
def test_a_read_is_the_select_by_its_key(table: str, column: str, key: str) -> None:
    """Whatever the names and the key are; a read renders what it can in advance."""
    predicate = Comparison(Operator.EQ, key, column)
    assert render_read(table, column, key) == render_select(table, predicate, limit=2)


@pytest.mark.parametrize(
    ("condition", "alone", "grouped"),
    [
        (match("^a.b$"), "c=match.^a.b$", 'or=(c.match."^a.b$",d.eq.1)'),
        (imatch('"x"'), 'c=imatch."x"', 'or=(c.imatch."\\"x\\"",d.eq.1)'),
        (contains(["a", "b,c", 1]), 'c=cs.{"a","b,c",1}', 'or=(c.cs."{\\"a\\",\\"b,c\\",1}",d.eq.1)'),
        (contains([]), "c=cs.{}", 'or=(c.cs."{}",d.eq.1)'),
        (contained_by(['"']), 'c=cd.{"\\""}', 'or=(c.cd."{\\"\\\\\\"\\"}",d.eq.1)'),
        (overlaps(["a"]), 'c=ov.{"a"}', 'or=(c.ov."{\\"a\\"}",d.eq.1)'),
        (contains({"a": [1, "x"]}), 'c=cs.{"a":[1,"x"]}', 'or=(c.cs."{\\"a\\":[1,\\"x\\"]}",d.eq.1)'),
        (text_search("red fox"), "c=plfts.red fox", 'or=(c.plfts."red fox",d.eq.1)'),
        (
            text_search("fox", kind="phrase", config="english"),
            "c=phfts(english).fox",
            'or=(c.phfts(english)."fox",d.eq.1)',
        ),
        (text_search("a or b", kind="websearch"), "c=wfts.a or b", 'or=(c.wfts."a or b",d.eq.1)'),
        (text_search("a & b", kind="tsquery"), "c=fts.a & b", 'or=(c.fts."a & b",d.eq.1)'),
    ],
    ids=str,
)
def test_patterns_arrays_documents_and_searches_on_the_wire(condition: Any, alone: str, grouped: str) -> None:
    """Raw at the top; below `or` the whole operand is one quoted text."""
    for filters, expected in (({"c": condition}, alone), (any_of({"c": condition}, {"d": 1}), grouped)):
        request = render_select("t", parse_filters("t", filters))
        assert unquote(request.target) == f"/rest/v1/t?select=*&{expected}"


# --- responses --------------------------------------------------------------------------------------------------------


def response(status: int, code: str | None = None, **body: Any) -> Response:
    """An error as PostgREST answers it; without a code, a proxy's page."""
    if code is None:
        return Response(status, HTML, b"<html><h1>something went wrong</h1></html>")
    told = {"code": code, "message": "m", "details": None, "hint": None, **body}
    return Response(status, JSON, json.dumps(told).encode())


@pytest.mark.parametrize("code", [None, "PGRST999"])
@pytest.mark.parametrize("status", [400, 404, 405, 406, 413, 414, 415, 416, 431, 401, 403, 301, 302, 303, 307, 308])
def test_these_statuses_reject(status: int, code: str | None) -> None:
    """A client error or a redirect applied nothing and would be refused again, whoever sent it."""
    error = parse_error(response(status, code), "write", "leads")
    assert (error.state, error.status, error.code) == (REJECTED, status, code)


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, *range(520, 531)])
def test_a_server_error_without_postgrest_json_is_ambiguous(status: int) -> None:
    """A gateway does not know whether the database has run the statement."""
    assert parse_error(response(status), "write", "leads").state is AMBIGUOUS


@pytest.mark.parametrize(("status", "state"), [(408, AMBIGUOUS), (425, AMBIGUOUS), (429, RETRYABLE)])
@pytest.mark.parametrize("code", [None, "over_request_rate_limit"])
def test_timeouts_and_throttles_say_what_they_mean(status: int, state: FailureState, code: str | None) -> None:
    """408 and 425 promise nothing; 429 was refused before it began."""
    assert parse_error(response(status, code), "write", "leads").state is state


SIGNALS = [
    *((400, code, REJECTED) for code in ("22P02", "22003", "22007", "22001", "23502", "23514", "42601", "42703")),
    *((409, code, REJECTED) for code in ("23503", "23505")),
    (404, "42P01", REJECTED),
    (404, "42883", REJECTED),
    (403, "42501", REJECTED),
    (401, "42501", REJECTED),
    (401, "PGRST301", REJECTED),
    (401, "PGRST303", REJECTED),
    (400, "PGRST100", REJECTED),
    (400, "PGRST102", REJECTED),
    (404, "PGRST205", REJECTED),
    (500, "57014", REJECTED),
    (500, "XX000", REJECTED),
    (400, "P0001", REJECTED),
    (300, "PGRST201", REJECTED),
    (300, "PGRST203", REJECTED),
    *((status, code, RETRYABLE) for status in (400, 500, 503) for code in ("40001", "40P01", "55P03")),
    *((503, code, RETRYABLE) for code in ("53100", "53200", "53300", "53400", "PGRST000", "PGRST002")),
    (504, "PGRST003", RETRYABLE),
    (503, "PGRST001", AMBIGUOUS),
    *((503, code, AMBIGUOUS) for code in ("08000", "08003", "08006", "57P01", "57P02", "57P05")),
    *((status, "57P03", RETRYABLE) for status in (500, 503)),
    *((status, "PGRSTX00", AMBIGUOUS) for status in (502, 503, 504)),
]


@pytest.mark.parametrize(("status", "code", "state"), SIGNALS)
def test_the_code_decides_what_is_known_about_the_database(status: int, code: str, state: FailureState) -> None:
    """The same status is sent before and after a statement has run; the code tells which."""
    error = parse_error(response(status, code), "write", "leads")
    assert (error.state, error.status, error.code) == (state, status, code)


@pytest.mark.parametrize(("status", "code", "state"), SIGNALS)
def test_a_code_in_the_proxy_status_counts_where_there_is_no_body(status: int, code: str, state: FailureState) -> None:
    """`Proxy-Status: PostgREST; error=CODE` says what an absent body cannot."""
    error = parse_error(Response(status, {"proxy-status": f"PostgREST; error={code}"}, b""), "write", "leads")
    assert (error.state, error.code) == (state, code)


@pytest.mark.parametrize(
    "body",
    [
        {"code": "internal_error", "message": "upstream failed"},
        {"code": 500, "message": "upstream failed"},
        {"message": "An unexpected error occurred", "request_id": "1"},
        {"error": {"code": "23505"}},
        ["23505"],
        "23505",
        None,
    ],
)
def test_json_that_postgrest_did_not_write_is_a_gateways(body: Any) -> None:
    """A gateway's JSON error on 500 promises nothing; only a SQLSTATE or a PGRST code comes from the server itself."""
    error = parse_error(Response(500, JSON, json.dumps(body).encode()), "write", "leads")
    assert error.state is AMBIGUOUS


@pytest.mark.parametrize(
    ("code", "status", "message", "constraint"),
    [
        ("23505", 409, 'duplicate key value violates unique constraint "leads_email_key"', "leads_email_key"),
        ("23505", 409, 'duplicate key value violates unique constraint "leads_pkey"', "leads_pkey"),
        (
            "23503",
            409,
            'insert or update on table "leads" violates foreign key constraint "leads_client_id_fkey"',
            "leads_client_id_fkey",
        ),
        (
            "23514",
            400,
            'new row for relation "campaigns" violates check constraint "campaigns_status_check"',
            "campaigns_status_check",
        ),
        ("23502", 400, 'null value in column "email" of relation "leads" violates not-null constraint', None),
        ("23P01", 400, 'conflicting key value violates exclusion constraint "no_overlap"', "no_overlap"),
    ],
)
def test_an_integrity_error_is_a_conflict_that_names_its_constraint(
    code: str, status: int, message: str, constraint: str | None
) -> None:
    """The constraint comes from the message: under RLS and INSERT-only rights `details` is empty."""
    error = parse_error(response(status, code, message=message), "write", "leads")
    assert isinstance(error, ConflictError)
    assert (error.constraint, error.code, error.state) == (constraint, code, REJECTED)


@pytest.mark.parametrize("code", ["22P02", "42501", "PGRST116", "40001", None])
def test_any_other_error_is_no_conflict(code: str | None) -> None:
    """Control: a ConflictError is only what an integrity rule refused."""
    assert type(parse_error(response(400, code), "write", "leads")) is AdapterError


@pytest.mark.parametrize(
    ("verb", "rights"), [("read", {"SELECT"}), ("query", {"SELECT"}), ("upsert", {"SELECT", "INSERT", "UPDATE"})]
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_right_is_answered_with_the_grant(verb: str, rights: set[str], status: int) -> None:
    """42501 is 403, and 401 for anon; the hint is a statement one can run."""
    error = parse_error(response(status, "42501", message="permission denied for table leads"), verb, "leads")
    granted = re.search(r"GRANT (.*) ON leads TO <role>;", error.hint or "")
    assert granted
    assert set(granted[1].split(", ")) == rights
    assert "GRANT" in str(error)


@pytest.mark.parametrize("verb", ["write", "batch_write"])
def test_the_grant_for_a_write_lets_it_return_its_row(verb: str) -> None:
    """`return=representation` needs SELECT beside INSERT, so the hint names both."""
    error = parse_error(response(403, "42501", message="permission denied for table leads"), verb, "leads")
    granted = re.search(r"GRANT (.*) ON leads TO <role>;", error.hint or "")
    assert granted
    assert set(granted[1].split(", ")) == {"SELECT", "INSERT"}


def test_a_row_that_a_policy_refuses_is_not_answered_with_a_grant() -> None:
    """More rights would not help against row-level security."""
    message = 'new row violates row-level security policy for table "leads"'
    error = parse_error(response(403, "42501", message=message), "write", "leads")
    assert "row-level security policy" in (error.hint or "")
    assert "GRANT" not in str(error)


@pytest.mark.parametrize(
    ("found", "remedy"),
    [
        (response(401), "SUPABASE_SERVICE_KEY"),
        (Response(401, JSON, b'{"message":"Invalid API key","hint":"Double check it"}'), "SUPABASE_SERVICE_KEY"),
        (response(302), "redirect"),
        (response(404), "SUPABASE_URL"),
        (Response(414, {"content-type": "text/plain"}, b"URI too long"), "fewer values"),
        (response(402), "usage and billing"),
        (response(540), "restore it in the dashboard"),
        (response(404, "PGRST205", message="Could not find the table 'public.t' in the schema cache"), "notify pgrst"),
        (response(404, "PGRST205", message="m", hint="Perhaps you meant the table 'public.leads'"), "notify pgrst"),
        (
            response(400, "42703", message="column leads.emial does not exist", hint="Perhaps you meant leads.email."),
            "leads.email",
        ),
        (
            response(404, "PGRST205", message="Could not find it", hint="Perhaps you meant the table 'public.leads'"),
            "public.leads",
        ),
        (response(400, "22P02", message="invalid input syntax for type json"), "the column as jsonb"),
    ],
)
def test_the_hint_says_what_to_do(found: Response, remedy: str) -> None:
    """The remedy stands in the hint and in the message."""
    error = parse_error(found, "query", "leads")
    assert remedy in (error.hint or "")
    assert remedy in str(error)


@pytest.mark.parametrize(("status", "told"), [(402, "the project's quota is used up"), (540, "the project is paused")])
def test_what_the_gateway_refuses_is_not_tried_again(status: int, told: str) -> None:
    """It says so before the request reaches the database; the next attempt would be told the same."""
    error = parse_error(response(status), "write", "leads")
    assert (error.state, error.may_be_retried) == (REJECTED, False)
    assert f"{told} (HTTP {status})" in str(error)


@pytest.mark.parametrize(("verb", "kind"), [("write", "json"), ("query", "uuid")])
def test_a_wrong_value_elsewhere_has_nothing_to_do_with_declared_columns(verb: str, kind: str) -> None:
    """A record's JSON, or a filter on another type."""
    found = response(400, "22P02", message=f"invalid input syntax for type {kind}")
    assert parse_error(found, verb, "leads").hint is None


@pytest.mark.parametrize("code", ["PGRST201", "PGRST203"])
def test_an_ambiguous_embedding_or_function_is_no_redirect(code: str) -> None:
    """PostgREST answers PGRST201 and PGRST203 with HTTP 300, which redirects nowhere."""
    error = parse_error(response(300, code), "query", "leads")
    assert (error.state, error.code) == (REJECTED, code)
    assert "redirect" not in str(error)


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 04:04:35 +0100", 30.0),
        ("Fri, 02 Jan 2026 03:04:05 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 02 Jan 2026 03:04:35 -0000", None),
        ("Fri, 02 Jan 2026 03:04:35 +99999999999999999", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("99999999999999999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """RFC 9110, section 10.2.3; what is negative, past, huge or junk is as if it were not there."""
    error = parse_error(Response(429, {"retry-after": value}, b""), "write", "leads", now=NOW)
    assert error.retry_after_s == seconds


def test_without_retry_after_there_is_no_wish() -> None:
    """The header is optional."""
    assert parse_error(response(429), "write", "leads").retry_after_s is None


RAISED_BY_TRIGGERS = [
    (409, {"code": "23505", "message": f"Duplicate e-mail: {SENTINEL}", "details": None, "hint": None}),
    (400, {"code": "23514", "message": f"{SENTINEL} is over the budget", "details": None, "hint": None}),
    (403, {"code": "42501", "message": f"{SENTINEL} may not do this", "details": None, "hint": None}),
    (400, {"code": "22023", "message": f"bad budget {SENTINEL}", "details": None, "hint": None}),
]
ECHOES = [
    (400, {"code": "22P02", "message": f'invalid input syntax for type uuid: "{SENTINEL}"'}),
    (400, {"code": "22P02", "message": f'invalid input value for enum mood: "{SENTINEL}"'}),
    (400, {"code": "22P02", "message": "malformed array literal", "details": f'Unexpected "{SENTINEL}".'}),
    (400, {"code": "22003", "message": f'value "{SENTINEL}" is out of range for type integer'}),
    (400, {"code": "22007", "message": f'invalid input syntax for type timestamp with time zone: "{SENTINEL}"'}),
    (400, {"code": "22008", "message": f'date/time field value out of range: "{SENTINEL}"'}),
    (
        409,
        {
            "code": "23505",
            "message": 'duplicate key value violates unique constraint "leads_email_key"',
            "details": f"Key (email)=({SENTINEL}) already exists.",
        },
    ),
    (
        400,
        {
            "code": "23502",
            "message": 'null value in column "email" of relation "leads" violates not-null constraint',
            "details": f"Failing row contains (7, null, {SENTINEL}).",
        },
    ),
    (
        409,
        {
            "code": "23503",
            "message": 'insert or update on table "leads" violates foreign key constraint "leads_client_id_fkey"',
            "details": f'Key (client_id)=({SENTINEL}) is not present in table "clients".',
        },
    ),
    (
        400,
        {
            "code": "23514",
            "message": 'new row for relation "campaigns" violates check constraint "campaigns_status_check"',
            "details": f"Failing row contains (7, {SENTINEL}).",
        },
    ),
    (
        400,
        {
            "code": "PGRST100",
            "message": f'"failed to parse logic tree (({SENTINEL}))" (line 1, column 4)',
            "details": f'unexpected "{SENTINEL[0]}" expecting "not" or operator (eq, gt, …)',
        },
    ),
    (400, {"code": "P0001", "message": f"lead {SENTINEL} is blocked", "hint": SENTINEL, "details": SENTINEL}),
    (400, {"code": "PT402", "message": SENTINEL, "hint": SENTINEL, "details": SENTINEL}),
    (500, {"code": "XX000", "message": SENTINEL, "hint": SENTINEL, "details": SENTINEL}),
    (400, {"code": "42804", "message": f"column is of type integer but {SENTINEL}", "hint": SENTINEL}),
    (400, {"code": "22023", "message": "bad", "hint": SENTINEL}),
    (401, {"message": SENTINEL, "hint": SENTINEL}),
    (502, {"error": SENTINEL, "error_description": SENTINEL}),
]


@pytest.mark.parametrize(("status", "body"), ECHOES)
def test_nothing_of_a_row_or_a_filter_is_in_an_error(status: int, body: dict[str, Any]) -> None:
    """The server's texts echo values in message, details and hint; none of it gets into what an error shows."""
    error = parse_error(Response(status, JSON, json.dumps(body).encode()), "write", "leads")
    assert SENTINEL not in everything_said_by(error)
    assert SENTINEL not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(("status", "body"), RAISED_BY_TRIGGERS)
def test_nothing_that_a_trigger_raised_under_a_standard_code_is_in_an_error(status: int, body: dict[str, Any]) -> None:
    """`RAISE unique_violation USING MESSAGE = 'Duplicate user ID: ' || user_id` stands in PostgreSQL's manual."""
    error = parse_error(Response(status, JSON, json.dumps(body).encode()), "write", "leads")
    assert SENTINEL not in everything_said_by(error)


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (HTML, f"<html>{SENTINEL}</html>".encode()),
        ({"content-type": "text/plain"}, SENTINEL.encode()),
        (JSON, f'{{"message": "{SENTINEL}'.encode()),
        (JSON, f'"{SENTINEL}"'.encode()),
        (JSON, json.dumps({"code": SENTINEL * 20, "message": SENTINEL}).encode()),
        ({"proxy-status": f"PostgREST; error={SENTINEL}"}, b""),
        ({"retry-after": SENTINEL, "location": SENTINEL}, b""),
    ],
)
@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_a_body_that_is_no_postgrest_error_is_not_repeated(
    status: int, headers: dict[str, str], content: bytes
) -> None:
    """What a proxy or an attacker wrote stays out of messages and log lines."""
    assert SENTINEL not in everything_said_by(parse_error(Response(status, headers, content), "query", "leads"))


def test_an_error_still_says_what_is_safe() -> None:
    """Control: verb, table, status, code and constraint are there, or the tests above would hold for an empty text."""
    status, body = ECHOES[6]
    error = parse_error(Response(status, JSON, json.dumps(body).encode()), "write", "leads")
    for word in ("write", "leads", "409", "23505", "leads_email_key"):
        assert word in str(error)


def test_a_response_or_request_shows_no_content() -> None:
    """Their repr may land in a log: no body, no credential."""
    shown = repr(Response(200, {}, SENTINEL.encode())) + repr(Request("POST", "/rest/v1/t", (), SENTINEL.encode()))
    assert SENTINEL not in shown
    assert SENTINEL not in repr(Request("GET", "/rest/v1/t", (("apikey", SENTINEL),)))


ERROR_STATUS = st.integers(100, 199) | st.integers(300, 599)


@given(
    status=ERROR_STATUS,
    headers=st.fixed_dictionaries(
        {},
        optional={
            "content-type": st.sampled_from(["application/json", "text/html", "application/problem+json"]) | st.text(),
            "retry-after": st.text()
            | st.integers().map(str)
            | st.tuples(st.datetimes(), st.integers()).map(lambda t: f"{t[0]:%a, %d %b %Y %H:%M:%S} {t[1]:+}"),
            "proxy-status": st.text(),
        },
    ),
    content=st.binary()
    | st.text().map(str.encode)
    | st.from_type(dict[str, str]).map(lambda d: json.dumps(d).encode()),
)
def test_no_answer_of_a_server_breaks_the_parser(status: int, headers: dict[str, str], content: bytes) -> None:
    """Whatever comes back becomes an AdapterError with a state."""
    error = parse_error(Response(status, headers, content), "write", "leads")
    assert error.state in FailureState
    assert error.retry_after_s is None or error.retry_after_s >= 0


def test_rows_come_back_as_they_were_sent() -> None:
    """A 2xx with a JSON array of objects is rows; numbers keep their integers."""
    found = Response(200, JSON, '[{"id": 9007199254740993, "name": "ß", "custom": {"a": [null]}}, {}]'.encode())
    assert parse_rows(found, "query", "t") == [{"id": 9007199254740993, "name": "ß", "custom": {"a": [None]}}, {}]


def rows_of(number: str) -> Any:
    """The value of a column that the server tells as this number."""
    return parse_rows(Response(200, JSON, f'[{{"n": {number}, "at": "05.123456"}}]'.encode()), "query", "t")[0]["n"]


@pytest.mark.parametrize("whole", range(1, 20))
@pytest.mark.parametrize("fraction", range(1, 20))
def test_a_number_has_all_the_digits_that_the_server_sent(whole: int, fraction: int) -> None:
    """A float where one holds them, else a Decimal, wherever the point stands."""
    text = f"-{'9' * whole}.{'8' * fraction}"
    assert Decimal(str(rows_of(text))) == Decimal(text)
    assert isinstance(rows_of(text), float) is (Decimal(repr(float(text))) == Decimal(text))


def test_a_double_of_17_digits_is_a_float() -> None:
    """A similarity, say: the server prints as many digits as tell the float."""
    assert type(rows_of("0.30000000000000004")) is float


@pytest.mark.parametrize("text", ["9" * 4300, "9" * 131_072, f"{'9' * 131_072}.{'9' * 16_383}"], ids=shown)
def test_the_longest_numbers_of_postgresql_are_read(text: str) -> None:
    """An int as far as Python reads it, then a Decimal."""
    assert rows_of(text) == Decimal(text)


def test_numbers_in_documents_and_results_are_exact() -> None:
    """jsonb holds numeric; so may whatever a function returns."""
    body = b'{"a": [{"n": 0.1234567890123456789}], "b": 0.5}'
    assert parse_value(Response(200, JSON, body), "f") == {"a": [{"n": Decimal("0.1234567890123456789")}], "b": 0.5}


@pytest.mark.parametrize("junk", [b"[0.1234567890123456789", b"[" * 100_000 + b"0.1234567890123456789", b"9" * 5000])
def test_long_numbers_in_what_is_no_json_promise_nothing(junk: bytes) -> None:
    """The second reading refuses what the first does."""
    with pytest.raises(AdapterError, match="without the JSON rows"):
        parse_rows(Response(200, JSON, junk), "query", "t")


@pytest.mark.parametrize("content_type", ["application/json", "application/vnd.pgrst.array+json; charset=utf-8"])
def test_every_json_media_type_is_json(content_type: str) -> None:
    """PostgREST has vendor types of its own."""
    assert parse_rows(Response(201, {"content-type": content_type}, b"[]"), "query", "t") == []


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (HTML, b"<html>Sign in to the network</html>"),
        (HTML, b'[{"id": 1}]'),
        ({}, b'[{"id": 1}]'),
        (JSON, b""),
        (JSON, b'[{"id": 1}'),
        (JSON, b'[{"id": "\xff"}]'),
        (JSON, b'{"id": 1}'),
        (JSON, b"[1]"),
        (JSON, b"null"),
        (JSON, b"[" * 100_000),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_a_success_without_rows_confirms_a_write_only_in_json(
    status: int, headers: dict[str, str], content: bytes
) -> None:
    """A captive portal answers 200 too, but not in JSON; behind a mangled body of PostgREST's the write was applied."""
    for verb, state in (("write", APPLIED if headers is JSON else AMBIGUOUS), ("query", AMBIGUOUS)):
        with pytest.raises(AdapterError, match="without the JSON rows") as caught:
            parse_rows(Response(status, headers, content), verb, "leads", expected=1)
        assert (caught.value.state, caught.value.status) == (state, status)


@pytest.mark.parametrize(("status", "headers", "content"), [(201, {}, b""), (204, {}, b""), (200, JSON, b"")])
def test_a_write_without_rows_asked_for_is_confirmed_by_the_status(
    status: int, headers: dict[str, str], content: bytes
) -> None:
    """`Prefer: return=minimal` is answered with an empty body; a server that does not count stored what was sent."""
    assert parse_stored(Response(status, headers, content), "write", "leads", 3) == 3


def test_the_number_of_rows_stored_is_the_one_that_the_server_counts() -> None:
    """Triggers and rules drop rows in silence; `count=exact` tells."""
    assert parse_stored(Response(201, {"content-range": "*/2"}, b""), "bulk_write", "leads", 3) == 2


@pytest.mark.parametrize(
    ("status", "content"), [(200, b"[]"), (200, b'[{"id": 1}]'), (201, b'[{"id": 1}]'), (200, b"7")]
)
def test_rows_that_nobody_asked_for_are_the_answer_to_another_call(status: int, content: bytes) -> None:
    """Such as the late answer to the read before, on the same connection."""
    with pytest.raises(MisdeliveredError, match="nobody asked for") as caught:
        parse_stored(Response(status, JSON, content), "write", "leads", 1)
    assert caught.value.state is AMBIGUOUS


@pytest.mark.parametrize("found", [Response(200, HTML, b"<html>"), Response(503, HTML, b"<html>")])
def test_a_page_confirms_no_write(found: Response) -> None:
    """Neither a captive portal's nor a proxy's."""
    with pytest.raises(AdapterError) as caught:
        parse_stored(found, "write", "leads", 1)
    assert caught.value.state is AMBIGUOUS


@pytest.mark.parametrize("count", [0, 2])
def test_a_wrong_number_of_rows_is_an_error_that_says_so(count: int) -> None:
    """One row was sent; another number in return, which the server does not count so, means that it is not known what
    was stored."""
    found = Response(201, JSON, json.dumps([{"secret": SENTINEL}] * count).encode())
    with pytest.raises(AdapterError, match=rf"1 row\(s\) were sent, {count} came back") as caught:
        parse_rows(found, "write", "leads", expected=1)
    assert caught.value.state is APPLIED
    assert SENTINEL not in everything_said_by(caught.value)


@pytest.mark.parametrize(("stored", "state"), [(0, REJECTED), (1, APPLIED)])
def test_fewer_rows_than_were_sent_are_those_that_were_stored(stored: int, state: FailureState) -> None:
    """Where the server counts as many. The error says how many, and has them for whoever has to find his own."""
    found = Response(201, JSON | {"content-range": f"*/{stored}"}, json.dumps([{"secret": SENTINEL}] * stored).encode())
    with pytest.raises(RowsDroppedError, match=f"the database stored {stored} of 2 rows") as caught:
        parse_rows(found, "batch_write", "leads", expected=2)
    assert (caught.value.state, caught.value.stored, len(caught.value.rows)) == (state, stored, stored)
    assert SENTINEL not in str(caught.value)


@pytest.mark.parametrize("status", [199, 300, 302, 400, 503])
def test_only_a_2xx_has_rows(status: int) -> None:
    """Rows in the body of an error are not rows."""
    with pytest.raises(AdapterError):
        parse_rows(Response(status, JSON, b'[{"id": 1}]'), "query", "leads")


OPENAPI = {"definitions": {"leads": {"properties": {"id": {"type": "string"}, "email": {"type": "string"}}}}}


def test_columns_are_told_in_the_order_of_the_description() -> None:
    """`definitions.<table>.properties` lists them."""
    found = Response(200, {"content-type": "application/openapi+json"}, json.dumps(OPENAPI).encode())
    assert parse_columns(found, "leads") == ["id", "email"]


@pytest.mark.parametrize(
    "found",
    [
        Response(200, JSON, json.dumps(OPENAPI).replace("leads", "others").encode()),
        Response(200, JSON, b"{}"),
        Response(200, JSON, b"[]"),
        Response(200, JSON, b'{"definitions": {"leads": {"properties": null}}}'),
        Response(200, JSON, b'{"definitions": []}'),
        Response(200, HTML, b"<html>"),
        Response(200, JSON, b"{"),
        Response(403, JSON, b'{"message": "needs a secret key"}'),
        Response(404, JSON, json.dumps(OPENAPI).encode()),
    ],
)
def test_where_the_description_does_not_tell_there_are_no_columns(found: Response) -> None:
    """None, and no exception: the caller has a schema to fall back to."""
    assert parse_columns(found, "leads") is None


@pytest.mark.parametrize(("status", "state"), [(429, RETRYABLE), (500, AMBIGUOUS), (503, AMBIGUOUS)])
def test_a_server_in_trouble_is_not_one_that_does_not_tell(status: int, state: FailureState) -> None:
    """The call can be tried again, so that a passing failure does not change the columns."""
    with pytest.raises(AdapterError, match="get_columns") as caught:
        parse_columns(Response(status, JSON, json.dumps(OPENAPI).encode()), "leads")
    assert caught.value.state is state


@pytest.mark.parametrize(("content_range", "count"), [("*/0", 0), ("0-9/25", 25), ("*/9007199254740993", 2**53 + 1)])
@pytest.mark.parametrize("status", [200, 206])
def test_the_count_stands_behind_the_slash(status: int, content_range: str, count: int) -> None:
    """RFC 9110, section 14.4."""
    assert parse_count(Response(status, {**JSON, "content-range": content_range}, b"[]"), "leads") == Result(count)


@pytest.mark.parametrize("headers", [{}, {"content-range": "0-9/*"}, {"content-range": "*/-1"}, {"content-range": "5"}])
def test_a_total_that_is_not_told_is_no_zero(headers: dict[str, str]) -> None:
    """An error, never a guess."""
    with pytest.raises(AdapterError, match="did not tell a total"):
        parse_count(Response(200, {**JSON, **headers}, b"[]"), "leads")
    with pytest.raises(AdapterError) as caught:
        parse_count(Response(401, {**JSON, "content-range": "*/5"}, b"[]"), "leads")
    assert caught.value.state is REJECTED


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"5", 5),
        (b"0", 0),
        (b'"text"', "text"),
        (b" null ", None),
        (b"false", False),
        (b'[{"id": 1}]', [{"id": 1}]),
        (b"[]", []),
        (b"", None),
    ],
)
def test_the_value_of_a_function_is_any_json(content: bytes, value: Any) -> None:
    """Scalars, rows and nothing at all (204)."""
    assert parse_value(Response(200 if content else 204, JSON, content), "f") == value


@pytest.mark.parametrize("found", [Response(200, HTML, b"<html>"), Response(200, JSON, b"{"), Response(200, {}, b"5")])
def test_a_value_that_is_no_json_promises_nothing(found: Response) -> None:
    """The function may have run."""
    with pytest.raises(AdapterError, match="without the JSON") as caught:
        parse_value(found, "f")
    assert caught.value.state is AMBIGUOUS


@pytest.mark.parametrize(
    ("status", "code", "message", "raised"),
    [
        (401, "PGRST301", "JWSError JWSInvalidSignature", AuthenticationError),
        (401, "PGRST303", "JWT expired", AuthenticationError),
        (401, None, "Invalid API key", AuthenticationError),
        (401, "42501", "permission denied for table leads", AuthenticationError),
        (403, "42501", "permission denied for table leads", AdapterError),
        (403, "42501", 'new row violates row-level security policy for table "leads"', RowSecurityError),
        (401, "42501", 'new row violates row-level security policy for table "leads"', RowSecurityError),
        (403, "P0001", "new row violates row-level security policy", AdapterError),
    ],
)
def test_who_is_not_known_and_whose_row_it_is_not_are_errors_of_their_own(
    status: int, code: str | None, message: str, raised: type[AdapterError]
) -> None:
    """A caller signs in again for the one, and tells the user of the other. A trigger's words are no policy."""
    body = json.dumps({"code": code, "message": message} if code else {"message": message}).encode()
    error = parse_error(Response(status, JSON, body), "write", "leads")
    assert (type(error), error.state) == (raised, FailureState.REJECTED)
    assert error.http_status == {AuthenticationError: 401, RowSecurityError: 403}.get(raised, error.http_status)

"""What may stand in a request, told a second time and without the package: a parser of requests, and a policy.

The grammar is that of https://docs.postgrest.org/en/v14/references/api/tables_views.html, as strict as the policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import httpx


class LeakError(AssertionError):
    """A request holds what the policy does not allow."""


@dataclass(frozen=True)
class Allowed:
    """Of one table: columns by right, paths that are declared, and the parameters that every request must have."""

    read: frozenset[str] = frozenset()
    write: frozenset[str] = frozenset()
    delete: bool = False
    paths: frozenset[str] = frozenset()
    always: frozenset[tuple[str, str]] = frozenset()
    is_whole: bool = False


TABLES = {
    "leads": Allowed(
        read=frozenset({"id", "email", "score", "custom"}),
        write=frozenset({"id", "email", "phone", "custom"}),
        delete=True,
        paths=frozenset({"custom->>role"}),
    ),
    "messages": Allowed(
        read=frozenset({"id", "conversation_id", "role", "content"}),
        always=frozenset({("role", "eq.user")}),
        is_whole=True,
    ),
    "inquiries": Allowed(write=frozenset({"email", "body"})),
}
JOINS = {
    ("leads", "id", "messages", "conversation_id"),
    ("leads", "email", "messages", "id"),
    ("messages", "conversation_id", "leads", "id"),
    ("messages", "id", "leads", "email"),
}
"""By which columns rows of two tables may be related."""
EMBEDDED = {(one, via, other) for one, ours, other, theirs in JOINS for via in (ours, theirs) if via != "id"}
FUNCTIONS = {"search"}
MAX_ROWS = 1000
HOST = "project.supabase.example"
OPERATORS = "eq|neq|gte|gt|lte|lt|like|ilike|match|imatch|in|is|cs|cd|ov|adj|fts|plfts|phfts|wfts"
_OWN = {"select", "order", "limit", "offset", "and", "or", "not.and", "not.or", "columns", "on_conflict", "apikey"}
_FIELD = re.compile(r"[a-z_]+(?:->>?[a-z_]+)*")
_CONDITION = re.compile(rf"(not\.)?({OPERATORS})(\([a-z_]+\))?\.")


def check(request: httpx.Request) -> None:
    """Raise LeakError unless the policy allows all of the request."""
    if request.url.host != HOST or request.url.fragment or request.url.userinfo:
        raise LeakError(f"goes to {request.url}")
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    parameters = [_parameter(part) for part in query.split("&")] if query else []
    if (request.method, path, query) == ("GET", "/rest/v1/", ""):
        return  # the description, which names tables and columns
    found = re.fullmatch(r"/rest/v1/(rpc/)?([a-z_]+)", path)
    if found is None:
        raise LeakError(f"path {path}")
    if found.group(1):
        _check_call(request, found.group(2), parameters)
    elif found.group(2) in TABLES:
        _check_table(request, found.group(2), parameters)
    else:
        raise LeakError(f"table {found.group(2)}")


def _parameter(part: str) -> tuple[str, str]:
    name, separator, value = part.partition("=")
    if not separator:
        raise LeakError(f"parameter {part}")
    return unquote(name, errors="strict"), unquote(value, errors="strict")


def _check_call(request: httpx.Request, function: str, parameters: list[tuple[str, str]]) -> None:
    """In a URL PostgREST takes for a filter of the result what looks like one, and some names for its own."""
    body = json.loads(request.content) if request.content else {}
    names = {name for name, _ in parameters} | body.keys()
    if function not in FUNCTIONS or request.method not in ("GET", "POST") or not all(map(_FIELD.fullmatch, names)):
        raise LeakError(f"{request.method} of function {function} with {names}")
    for name, value in parameters:
        if name in _OWN or _CONDITION.match(value):
            raise LeakError(f"argument {name}={value}")


def _without_related(name: str, parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters without what they ask of related rows, each of which is checked as a query of their table.

    Rows of other tables are embedded without columns, and there may be any or must be none.
    """
    selects = [value for parameter, value in parameters if parameter == "select"]
    own, embedded = _embedded(selects[0] if selects else "")
    left = [("select", own) if parameter == "select" else (parameter, value) for parameter, value in parameters]
    for alias, other, via, inner in embedded:
        if (name, via, other) not in EMBEDDED:
            raise LeakError(f"{other} is embedded in {name} by {via}")
        within = [(key.removeprefix(f"{alias}."), value) for key, value in left if key.startswith(f"{alias}.")]
        asked = [value for key, value in left if key == alias]
        if asked not in (["is.null"], ["not.is.null"]):
            raise LeakError(f"rows of {other} are embedded for {asked}")
        left = [(key, value) for key, value in left if key != alias and not key.startswith(f"{alias}.")]
        within = _without_related(other, [("select", inner), *within])
        if ("select", "") not in within:
            raise LeakError(f"columns of {other} are asked for: {within}")
        for parameter, value in within:
            if parameter != "select":
                _check_parameter(TABLES[other], parameter, value)
        if not TABLES[other].always <= {*within}:
            raise LeakError(f"{within} lack {TABLES[other].always}")
    return left


def _embedded(select: str) -> tuple[str, list[tuple[str, str, str, str]]]:
    """A select without what it embeds; and of that alias, table, column of the foreign key, and its own select."""
    plain, found, rest = [], [], select
    while rest:
        embed = re.match(r"(_agent_persistence_[0-9]+):([a-z_]+)!([a-z_]+)\(", rest)
        end = _matching(rest, embed.end()) if embed else None
        if embed and end is not None:
            found.append((embed[1], embed[2], embed[3], rest[embed.end() : end]))
            rest = rest[end + 1 :].removeprefix(",")
        else:
            item, _, rest = rest.partition(",")
            plain.append(item)
    return ",".join(plain), found


def _matching(text: str, position: int) -> int | None:
    """Where the parenthesis closes that is open at the position."""
    depth = 1
    for found in re.compile("[()]").finditer(text, position):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return found.start()
    return None


def _check_table(request: httpx.Request, name: str, parameters: list[tuple[str, str]]) -> None:
    table = TABLES[name]
    is_allowed = {"GET": table.read, "POST": table.write, "PATCH": table.write and table.read, "DELETE": table.delete}
    if not is_allowed.get(request.method):
        raise LeakError(request.method)
    parameters = _without_related(name, parameters)
    for parameter, value in parameters:
        _check_parameter(table, parameter, value)
    if not table.always <= {*parameters}:
        raise LeakError(f"{parameters} lack {table.always}")
    wants_rows = "return=minimal" not in request.headers.get("prefer", "")
    if table.read and not table.is_whole and wants_rows and [name for name, _ in parameters].count("select") != 1:
        raise LeakError(f"{parameters} do not say which columns are wanted")
    if request.content:
        body = json.loads(request.content)
        for record in body if isinstance(body, list) else [body]:
            _within(record.keys(), table.write, "record")


def _check_parameter(table: Allowed, name: str, value: str) -> None:
    match name:
        case "select" if value == "*" and table.is_whole:
            return
        case "select":
            _readable(table, (_unaliased(item) for item in value.split(",")))
        case "order":
            for item in value.split(","):
                found = re.fullmatch(r"(.*?)\.(asc|desc)(\.nulls(first|last))?", item)
                _readable(table, [found.group(1) if found else item])
        case "limit" | "offset":
            if not re.fullmatch(r"[0-9]{1,19}", value) or (name == "limit" and int(value) > MAX_ROWS + 1):
                raise LeakError(f"{name} {value}")
        case "on_conflict" | "columns":
            _within(value.split(","), table.write, name)
        case "and" | "or":
            _readable(table, _tree(value))
        case _:
            if not _CONDITION.match(value):
                raise LeakError(f"filter {value}")
            _readable(table, [name])


def _unaliased(item: str) -> str:
    """A path may stand under the alias of its own name."""
    found = re.fullmatch(r'"([^"]+)":(.+)', item)
    if found and found.group(1) == found.group(2) and "->" in item:
        return found.group(2)
    return item


def _readable(table: Allowed, names: Iterable[str]) -> None:
    _within(names, table.read | table.paths, "name")


def _within(names: Iterable[str], allowed: frozenset[str], what: str) -> None:
    for name in names:
        if name not in allowed:
            raise LeakError(f"{what} {name!r}")


def _tree(text: str) -> Iterator[str]:
    """The fields that a logical expression in parentheses compares."""
    position = yield from _group(text, 0)
    if position != len(text):
        raise LeakError(f"more than a group: {text[position:]!r}")


def _group(text: str, position: int) -> Generator[str, None, int]:
    position = _expect(text, position, "(")
    while True:
        junction = re.compile(r"(not\.)*(and|or)(?=\()").match(text, position)
        if junction:
            position = yield from _group(text, junction.end())
        else:
            field = _FIELD.match(text, position)
            if field is None:
                raise LeakError(f"no field: {text[position:]!r}")
            yield field.group()
            position = _value(text, _expect(text, field.end(), "."))
        if text[position : position + 1] == ")":
            return position + 1
        position = _expect(text, position, ",")


def _value(text: str, position: int) -> int:
    """Where the condition ends: an operator, and one value or a list of them."""
    condition = _CONDITION.match(text, position)
    if condition is None:
        raise LeakError(f"no condition: {text[position:]!r}")
    position = condition.end()
    if condition.group(2) == "in":
        position = _expect(text, position, "(")
        while text[position : position + 1] != ")":
            position = _scalar(text, position)
            if text[position : position + 1] == ",":
                position += 1
        return position + 1
    return _scalar(text, position)


def _scalar(text: str, position: int) -> int:
    found = re.compile(r'"(?:[^"\\]|\\.)*"|[^,()"]*', re.DOTALL).match(text, position)
    assert found
    return found.end()


def _expect(text: str, position: int, character: str) -> int:
    if text[position : position + 1] != character:
        raise LeakError(f"{character} expected: {text[position:]!r}")
    return position + 1

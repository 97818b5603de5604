"""Filters as JSON, for those who cannot write Python: policy files, models and web clients.

    {"status": "new", "score": {"gte": 0.5, "lt": 0.9}, "any_of": [{"phone": null}, {"tags": {"contains": ["vip"]}}]}

Each key is a column with a value or with operators by their names, or one of `all_of`, `any_of`, `not` and `exists`,
whose object names a table of related rows: {"exists": {"table": "comments", "filters": {"public": true}}}. All hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.query import filters as operators
from agent_persistence.query.filters import all_of, any_of, eq, not_
from agent_persistence.query.predicates import MAX_DEPTH, AllOf, Filter, fold
from agent_persistence.query.records import exact_integer, exact_number
from agent_persistence.schema.checks import did_you_mean

OPERATORS: Final = (
    *("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "like", "ilike", "match", "imatch"),
    *("contains", "contained_by", "overlaps", "adjacent", "text_search"),
)
"""The names that take a value."""
CONSTANTS: Final = ("is_null", "not_null", "is_true", "is_false")
"""The names that take none, and stand with `true`."""
_FUNCTIONS: Final[Mapping[str, Callable[..., Filter]]] = {
    name: getattr(operators, "in_" if name == "in" else name) for name in (*OPERATORS, *CONSTANTS)
}
_SAME: Final = {"in_": "in", "not_": "not"}
"""Python's names of what JSON can say without the underscore."""
_EXISTS_KEYS: Final = ("table", "filters", "via", "many")
_TEXT_SEARCH_KEYS: Final = frozenset({"query", "kind", "config"})


def parse_filters(given: Mapping[str, Any] | str | bytes) -> Filter:
    """The filter that JSON, or the mapping that was read from it, spells; `{}` selects every row.

    ValidationError lists every problem with its place: an operator that there is not, a value that an operator does not
    take, a list that is none. Which columns there are, and which may be used, is checked where the filter is used.
    """
    document = _document(given) if isinstance(given, (str, bytes)) else given
    problems: list[str] = []
    parsed = _mapping(document, "", problems, 0)
    if problems:
        raise ValidationError("filters", problems)
    return fold(parsed)


def _document(text: str | bytes) -> Any:
    try:
        return json.loads(text, parse_float=exact_number, parse_int=exact_integer, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValidationError("filters", "this is no JSON") from None


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _mapping(given: object, place: str, problems: list[str], depth: int) -> Filter:
    if not isinstance(given, Mapping):
        problems.append(_at(place, f'an object such as {{"column": value}} is needed, not {_kind(given)}'))
        return AllOf(())
    if depth > MAX_DEPTH // 4:
        problems.append(_at("", "filters are nested too deeply"))
        return AllOf(())
    return all_of(*(term for key, value in given.items() for term in _terms(key, value, place, problems, depth + 1)))


def _terms(key: object, value: object, place: str, problems: list[str], depth: int) -> Iterator[Filter]:
    """The terms that one key of an object stands for."""
    if not isinstance(key, str):
        problems.append(_at(place, f"keys are names of columns, not {_kind(key)}"))
        return
    here = f"{place}.{_shown(key)}" if place else _shown(key)
    match _SAME.get(key, key):
        case "all_of" | "any_of" as junction:
            terms = [
                _mapping(term, f"{here}[{i}]", problems, depth) for i, term in enumerate(_list(value, here, problems))
            ]
            yield all_of(*terms) if junction == "all_of" else any_of(*terms)
        case "not":
            yield not_(_mapping(value, here, problems, depth))
        case "exists" if isinstance(value, Mapping) and "table" in value:
            yield from _related(value, here, problems, depth)
        case _:
            for condition in _conditions(value, here, problems):
                yield all_of({key: condition})


def _related(given: Mapping[Any, Any], place: str, problems: list[str], depth: int) -> Iterator[Filter]:
    for key in given:
        if key not in _EXISTS_KEYS:
            known = f"keys are {', '.join(_EXISTS_KEYS)}"
            problems.append(_at(place, f"unknown key {printable(key)}{did_you_mean(key, _EXISTS_KEYS)}; {known}"))
            return
    filters = _mapping(given.get("filters", {}), f"{place}.filters", problems, depth)
    options = {name: given[name] for name in ("via", "many") if name in given}
    yield from _checked(operators.exists, (given["table"], filters), place, problems, **options)


def _list(value: object, place: str, problems: list[str]) -> list[Any]:
    if isinstance(value, list) and value:
        return value
    problems.append(_at(place, f"a list of filters is needed, with at least one in it, not {_kind(value)}"))
    return []


def _conditions(given: object, place: str, problems: list[str]) -> Iterator[Any]:
    """The conditions on one column: its value, or one for each operator."""
    if not isinstance(given, Mapping):
        if isinstance(given, list):
            problems.append(_at(place, 'a column does not equal a list; write {"in": […]} for any of several'))
            return
        if given is None:
            yield None
        else:
            yield from _checked(eq, (given,), place, problems)
        return
    if not given:
        problems.append(_at(place, 'an operator is needed here, such as {"gte": 0.5}'))
    for name, value in given.items():
        yield from _compared(_SAME.get(name, name), value, place, problems)


def _compared(name: object, value: object, place: str, problems: list[str]) -> Iterator[Filter]:
    if not isinstance(name, str) or name not in _FUNCTIONS:
        known = (*OPERATORS, *CONSTANTS)
        problem = f"unknown operator {printable(name)}{did_you_mean(name, known)}; operators are {', '.join(known)}"
        problems.append(_at(place, problem))
    elif name in CONSTANTS:
        if value is not True:
            problems.append(_at(place, f'write {{"{name}": true}}'))
        else:
            yield _FUNCTIONS[name]()
    elif name == "text_search" and isinstance(value, Mapping):
        yield from _searched(value, place, problems)
    else:
        yield from _checked(_FUNCTIONS[name], (value,), place, problems)


def _searched(given: Mapping[Any, Any], place: str, problems: list[str]) -> Iterator[Filter]:
    if "query" not in given or not given.keys() <= _TEXT_SEARCH_KEYS:
        problems.append(_at(place, 'text_search takes a text or {"query": …, "kind": …, "config": …}'))
        return
    options = {name: value for name, value in given.items() if name != "query"}
    yield from _checked(operators.text_search, (given["query"],), place, problems, **options)


def _checked(
    function: Callable[..., Filter], operands: tuple[Any, ...], place: str, problems: list[str], **options: Any
) -> Iterator[Filter]:
    try:
        yield function(*operands, **options)
    except ValidationError as error:
        problems += [_at(place, problem) for problem in error.problems]


def _at(place: str, problem: str) -> str:
    return f"{place}: {problem}" if place else problem


def _shown(key: str) -> str:
    return key if key.isidentifier() and key.isascii() and len(key) <= 63 else printable(key)


def _kind(value: object) -> str:
    """What JSON calls the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case Mapping():
            return "an object"
        case _:
            return "a number" if isinstance(value, (int, float)) else type(value).__name__

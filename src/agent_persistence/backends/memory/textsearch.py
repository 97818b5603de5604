"""Full-text search with the configuration `simple`: what the four ways of writing a query mean.

The grammars are those of gettoken_query_standard and gettoken_query_websearch in tsquery.c. An operand without a word,
such as a lone comma, drops out of the query as a stop word does; a query without words matches nothing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from agent_persistence.backends.memory.lexemes import MAX_POSITION, lexemes, vector
from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError
from agent_persistence.backends.memory.tsquery import Both, Either, Followed, Lexeme, Neither, Query
from agent_persistence.query.predicates import TextQuery

_MAX_NESTING: Final = 25
"""Negations and parentheses; PostgreSQL keeps 32 operators waiting (STACKDEPTH in tsquery.c)."""


def text_test(sought: TextQuery) -> Callable[[str], bool]:
    """Whether a text matches the query; 42601 for what is no tsquery."""
    if sought.config != "simple":
        raise TwinCannotTellError("text search without config='simple'")
    query = _READERS[sought.kind](sought.text)
    if query is None:
        return lambda text: False
    return lambda text: query.holds(vector(text))


def _plain(text: str) -> Query | None:
    query: Query | None = None
    for lexeme in lexemes(text):
        query = _joined("&", query, Lexeme(lexeme))
    return query


def _phrase(text: str, *, prefix: bool = False) -> Query | None:
    query: Query | None = None
    for lexeme in lexemes(text):
        query = Lexeme(lexeme, prefix) if query is None else Followed(query, Lexeme(lexeme, prefix))
    return query


def _websearch(text: str) -> Query | None:
    return _parsed(_websearch_items(text))


def _tsquery(text: str) -> Query | None:
    return _parsed(_tsquery_items(text))


_READERS: Final[dict[str, Callable[[str], Query | None]]] = {
    "plain": _plain,
    "phrase": _phrase,
    "websearch": _websearch,
    "tsquery": _tsquery,
}

# --- items ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Operand:
    query: Query | None


_Item: TypeAlias = _Operand | int | str
"""An operand, the number in <n>, or one of the characters !&|()."""

_WEB_OPERAND: Final = re.compile(
    r"""[\s!&|()<]*+(?:(?P<negation>-)|"(?P<quoted>[^"]*)"?|(?P<word>[^\s!&|()<"][^\s!&|()<":]*))""", re.ASCII
)
_WEB_JOINT: Final = re.compile(
    r"[\s!&|()<]*+(?:(?P<either>or(?![\w-])(?=.\s*\S))|(?P<unclear>or[^\x00-\x7f])|(?P<both>(?=.)))",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_OPERAND: Final = re.compile(
    r"\s*+(?:(?P<before>[!(])|(?P<word>[^\s!&|():<'][^\s!&|():<]*)(?P<modifiers>:[aAbBcCdD*]*)?|(?P<quoted>'))",
    re.ASCII,
)
_JOINT: Final = re.compile(r"\s*+(?:(?P<sign>[&|)])|<(?P<distance>-|[0-9]+)>(?=.))", re.ASCII | re.DOTALL)


def _websearch_items(text: str) -> Iterator[_Item]:
    """Words, phrases in quotes, `or` between operands and `-` before one; nothing is a syntax error."""
    at, expected = 0, _WEB_OPERAND
    while found := expected.match(text, at):
        at = found.end()
        match found.lastgroup:
            case "negation":
                yield "!"
            case "quoted" | "word" as kind:
                yield _Operand(_phrase(found[kind]))
                expected = _WEB_JOINT
            case "unclear":
                raise TwinCannotTellError("'or' before a letter that is not ASCII")
            case joint:
                yield "|" if joint == "either" else "&"
                expected = _WEB_OPERAND
    if expected is _WEB_OPERAND:
        yield _Operand(None)


def _tsquery_items(text: str) -> Iterator[_Item]:
    if "\\" in text:
        raise TwinCannotTellError("tsqueries with a backslash")
    at, expected, is_blank = 0, _OPERAND, True
    while found := expected.match(text, at):
        at, is_blank = found.end(), False
        item = _operand(found) if expected is _OPERAND else _operator(found)
        yield item
        if item not in ("!", "(", ")"):
            expected = _OPERAND if expected is _JOINT else _JOINT
    if text[at:].strip(" \t\n\v\f\r") or (expected is _OPERAND and not is_blank):
        raise _no_tsquery()
    if is_blank:
        yield _Operand(None)


def _operand(found: re.Match[str]) -> _Item:
    if found["quoted"]:
        raise TwinCannotTellError("tsqueries with quotes")
    modifiers = found["modifiers"] or ""
    if modifiers.strip(":*"):
        raise TwinCannotTellError("tsqueries with weights")
    return found["before"] or _Operand(_phrase(found["word"], prefix="*" in modifiers))


def _operator(found: re.Match[str]) -> _Item:
    if found["sign"]:
        return found["sign"]
    digits = found["distance"].lstrip("0") or "0"
    if found["distance"] == "-":
        return 1
    if len(digits) > 5 or int(digits) > MAX_POSITION:
        raise NotOfTypeError("22023", "tsquery")
    return int(digits)


# --- grammar ----------------------------------------------------------------------------------------------------------

_SIGNS: Final = ("|", "&")
"""By what binds least; <n> binds more, ! most."""


def _parsed(given: Iterator[_Item]) -> Query | None:
    items = deque(given)
    if items.count("!") + items.count("(") > _MAX_NESTING:
        raise TwinCannotTellError("tsqueries nested this deep")
    query = _chain(items, 0)
    if items:
        raise _no_tsquery()
    return query


def _chain(items: deque[_Item], level: int) -> Query | None:
    """Operands of one binding strength, joined from left to right."""
    if level > len(_SIGNS):
        return _single(items)
    left = _chain(items, level + 1)
    while items and (items[0] == _SIGNS[level] if level < len(_SIGNS) else isinstance(items[0], int)):
        sign = items.popleft()
        left = _joined(sign, left, _chain(items, level + 1))
    return left


def _single(items: deque[_Item]) -> Query | None:
    match items.popleft() if items else None:
        case _Operand(query):
            return query
        case "!":
            term = _single(items)
            return None if term is None else Neither(term)
        case "(":
            query = _chain(items, 0)
            if not items or items.popleft() != ")":
                raise _no_tsquery()
            return query
        case _:
            raise _no_tsquery()


def _joined(sign: _Item, left: Query | None, right: Query | None) -> Query | None:
    if isinstance(sign, int):
        if left is None or right is None:
            raise TwinCannotTellError("tsqueries with <-> beside an operand without a word")
        return Followed(left, right, sign)
    if left is None or right is None:
        return right if left is None else left
    return Either(left, right) if sign == "|" else Both(left, right)


def _no_tsquery() -> NotOfTypeError:
    return NotOfTypeError("42601", "tsquery")

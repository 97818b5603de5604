"""LIKE and POSIX regular expressions as tests of texts, as far as Python means the same by them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError

TextTest: TypeAlias = Callable[[str], bool]


def like(pattern: str) -> TextTest:
    """Whether a text matches an SQL pattern: % is any text, _ one character, a backslash makes the next literal."""
    literal = _unescaped(pattern)
    if literal is not None:
        return literal.__eq__
    for head, tail, test in (("%", "%", str.__contains__), ("", "%", str.startswith), ("%", "", str.endswith)):
        inner = _between(pattern, head, tail)
        if inner is not None:
            return _bound(test, inner)
    matches = re.compile(like_to_regex(pattern), re.DOTALL).fullmatch
    return lambda text: matches(text) is not None


def ilike(pattern: str) -> TextTest:
    """As `like`, both sides in lower case."""
    test = like(lowered(pattern))
    return lambda text: test(lowered(text))


def _between(pattern: str, head: str, tail: str) -> str | None:
    """The text between the wildcards at its ends, None if there are others."""
    if len(pattern) < len(head) + len(tail) or not (pattern.startswith(head) and pattern.endswith(tail)):
        return None
    if tail and (len(pattern) - 1 - len(pattern[:-1].rstrip("\\"))) % 2:  # the last % is escaped
        return None
    return _unescaped(pattern[len(head) : len(pattern) - len(tail)])


def _unescaped(pattern: str) -> str | None:
    """The one text that the pattern matches; None if it has wildcards."""
    if not {"%", "_", "\\"}.intersection(pattern):
        return pattern
    if re.search(r"(?<!\\)(?:\\\\)*[%_]", pattern):
        return None
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def _bound(test: Callable[[str, str], bool], inner: str) -> TextTest:
    return lambda text: test(text, inner)


def lowered(text: str) -> str:
    """lower() in a UTF-8 locale, character by character, none becoming two."""
    return text.lower() if text.isascii() else "".join(map(_lower, text))


@cache
def _lower(character: str) -> str:
    return character.lower()[0]


def like_to_regex(pattern: str) -> str:
    """The SQL pattern as a regular expression."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        match character:
            case "%":
                parts.append(".*")
            case "_":
                parts.append(".")
            case "\\":
                parts.append(re.escape(next(characters)))
            case _:
                parts.append(re.escape(character))
    return "".join(parts)


_SET: Final = r"\[\^?(?:-?(?:[^\\\[\]^-]-[^\\\[\]^-]|[^\\\[\]^-])+-?)\]"
_PORTABLE = re.compile(
    rf"""(?: [^\\\[\](){{}}*+?|.^$]           # a character that stands for itself
          | \\[\\\[\](){{}}*+?|.^$/-]         # one that is escaped to stand for itself
          | {_SET}                          # a set of characters, without classes and escapes
          | [.()|^$]                        # any character, a group, an alternative, an anchor
          | (?<=[^*+?{{}}(|^$])[*+?](?![*+?]) # how often, greedy and once
        )*""",
    re.VERBOSE,
)
_PIECE = re.compile(rf"\\.|{_SET}|.", re.DOTALL)
_UNPORTABLE = re.compile(r"\(\?|\(\)|\(\||\|\)|\|\||^\||\|$|&&|~~|--")
"""Groups that Python alone has, branches without text, and pairs that Python means to give a meaning in sets."""


def regex(pattern: str, *, ignore_case: bool) -> TextTest:
    """Whether a text holds a match. What means something else in PostgreSQL than in Python is refused."""
    if not _PORTABLE.fullmatch(pattern) or _UNPORTABLE.search(pattern):
        raise TwinCannotTellError(
            "this regular expression; it follows characters, . [sets] (groups) | ^ $ * + ? and escaped punctuation"
        )
    source = "".join(_piece(part, ignore_case) for part in _PIECE.findall(pattern))
    try:
        search = re.compile(source, re.DOTALL | (re.IGNORECASE | re.ASCII if ignore_case else 0)).search
    except re.error as error:
        vars(error).pop("pattern", None)  # a filter's value, which whoever walks the causes would see
        raise NotOfTypeError("2201B", "regular expression") from None
    return lambda text: search(text) is not None


def _piece(part: str, ignore_case: bool) -> str:
    """A part of the pattern as Python writes it."""
    if part == "$":  # Python's matches before a last line end as well
        return r"\Z"
    if not ignore_case or part.isascii():
        return part
    if part.startswith("["):
        raise TwinCannotTellError("sets of non-ASCII characters regardless of case")
    cases = {part, *(case for case in (part.lower(), part.upper()) if len(case) == 1)}
    return f"[{''.join(sorted(cases))}]" if len(cases) > 1 else part

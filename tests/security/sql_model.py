"""What may stand in a statement, told without the package: words of SQL, names of the policy, and nothing else.

A name is between double quotes, a value is a parameter; what remains must be words of this list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.security.wire_model import JOINS, TABLES, LeakError

OWN_NAMES = frozenset({"public", "custom->>role"})
ARGUMENTS = frozenset({"word", "most"})
LITERALS = frozenset({"'[]'", "'role'", "'statement_timeout'", "'object'"})
WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        select insert into update delete from where and or not in is null true false any as on conflict do set excluded
        returning with values default order by asc desc nulls first last limit offset count coalesce
        json_agg text json jsonb json_populate_recordset json_populate_record regconfig to_tsvector plainto_tsquery
        phraseto_tsquery websearch_to_tsquery to_tsquery to_json like ilike nothing explain format case when then
        else end sign value jsonb_typeof jsonb_each _agent_persistence_given
        _agent_persistence_row _agent_persistence_0
        """,
    )
)
BY_KEY = 'on conflict ("id")'
"""Where a merge names no columns, the primary key decides, which a record that may not name it never has."""
_NAME = re.compile(r'"((?:[^"]|"")*)"')
_LITERAL = re.compile(r"'[^']*'")
_SIGNS = re.compile(r"\|\||\+|->>?|<>|<=|>=|=>|::|@>|<@|@@|&&|-\|-|~\*|!~|[(),.*=<>~]|\$[0-9]+")


_EXISTS = re.compile(
    r'exists \(select from "public"\."(?P<table>[a-z_]+)" as (?P<alias>_agent_persistence_related_\d)'
    r' where (?P=alias)\."(?P<theirs>[a-z_]+)" = [a-z_."\d]+\."(?P<ours>[a-z_]+)" and '
)


def _without_related(table: str, text: str, parameters: Sequence[str | None]) -> str:
    """The statement without what it asks of related rows, each of which is checked as a query of their table."""
    while found := [*_EXISTS.finditer(text)]:
        *around, inner = found  # the last one has none within it
        start, end = inner.span()
        after = _closing(text, start + len("exists ("))
        outer = next((each["table"] for each in reversed(around) if _closing(text, each.end()) > after), table)
        if (outer, inner["ours"], inner["table"], inner["theirs"]) not in JOINS:
            raise LeakError(f"{outer} is joined with {inner['table']} in {text}")
        check(inner["table"], False, f'select from "public"."{inner["table"]}" where {text[end:after]}', parameters)
        text = f"{text[:start]}true{text[after + 1 :]}"
    return text


def _closing(text: str, position: int) -> int:
    """Where the parenthesis closes that is open at the position."""
    depth = 1
    for found in re.compile(r'"(?:[^"]|"")*"|[()]').finditer(text, position):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    raise LeakError(f"no end of a condition on related rows: {text}")


def check(table: str, writes: bool, text: str, parameters: Sequence[str | None]) -> None:
    """Raise LeakError unless the policy allows all of the statement."""
    text = _without_related(table, text, parameters)
    named = text.replace(BY_KEY, "on conflict ()")
    names = {name.replace('""', '"') for name in _NAME.findall(named)} - OWN_NAMES
    rest = _NAME.sub(" ", text)
    literals = set(_LITERAL.findall(rest))
    words = set(_SIGNS.sub(" ", _LITERAL.sub(" ", rest)).lower().split())
    if literals - LITERALS or words - WORDS - {str(number) for number in range(10)}:
        raise LeakError(f"{sorted(literals - LITERALS)} {sorted(words - WORDS)} in {text}")
    if table == "search":
        allowed = {"search", *ARGUMENTS}
    elif table in TABLES:
        allowed = {table, *TABLES[table].read, *(TABLES[table].write if writes else ())}
    else:
        raise LeakError(f"{table!r} is asked for")
    if names - allowed:
        raise LeakError(f"{sorted(names - allowed)} in {text}")
    if table == "messages" and "user" not in parameters:
        raise LeakError(f"rows of anyone: {text}")
    if table == "messages" and (writes or '"role" = $' not in text):
        raise LeakError(f"rows of anyone: {text}")

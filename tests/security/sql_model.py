"""What may stand in a statement, told without the package: words of SQL, names of the policy, and nothing else.

A name is between double quotes, a value is a parameter; what remains must be words of this list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.security.wire_model import TABLES, LeakError

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
        phraseto_tsquery websearch_to_tsquery to_tsquery to_json like ilike nothing case when then else end sign value
        jsonb_typeof jsonb_each _agent_persistence_old _agent_persistence_given
        _agent_persistence_row _agent_persistence_0
        """,
    )
)
BY_KEY = 'on conflict ("id")'
"""Where a merge names no columns, the primary key decides, which a record that may not name it never has."""
_NAME = re.compile(r'"((?:[^"]|"")*)"')
_LITERAL = re.compile(r"'[^']*'")
_SIGNS = re.compile(r"\|\||\+|->>?|<>|<=|>=|=>|::|@>|<@|@@|&&|~\*|!~|[(),.*=<>~]|\$[0-9]+")


def check(table: str, writes: bool, text: str, parameters: Sequence[str | None]) -> None:
    """Raise LeakError unless the policy allows all of the statement."""
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

"""Where the test server is not PostgREST although the twin is; each entry has a test that fails when it is gone.

What the suite leaves out or translates because of these is said in the last field; nothing else is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent_persistence.query.identifiers import is_path
from agent_persistence.query.predicates import Comparison, Filter, Operator, comparisons, fold
from agent_persistence.schema_registry import Table


@dataclass(frozen=True)
class Difference:
    """One behaviour: of the test server, of PostgREST, and what the suite makes of it."""

    name: str
    server: str
    postgrest: str
    suite: str


KNOWN = (
    Difference(
        "null_in_an_array",
        'prints a NULL element as the text "NULL": its driver parses arrays',
        "null, as to_json prints it",
        "the twin's answer is compared with the text; test_sql.py compares null",
    ),
    Difference(
        "a_text_for_an_array",
        """takes the text '["a"]' for an array column as an array""",
        "22P02: a text is read as PostgreSQL writes arrays",
        "writes through the server send lists only; test_sql.py sends texts too",
    ),
    Difference(
        "in_on_an_array",
        "expands `in` to single comparisons, which arrays have",
        "42704: there is no array of arrays for `= any (…)`",
        "such queries are not sent to the server; test_sql.py compares them",
    ),
    Difference(
        "a_wrong_value_for_no_row",
        "22P02 for a value of an update that is none of its column's type, also where the filter selects no row",
        "200 and no rows: the body is read when a row is selected (measured with 14.12)",
        "the real one may refuse an update of which the twin says that it changed no row",
    ),
    Difference(
        "numbers_of_rows_that_give_theirs",
        "takes a number of the sequence for rows without one alone, as PostgreSQL itself does",
        "of records with different keys, where any gives an identity, every one takes a number (fromJsonBodyF)",
        "such batches are not drawn",
    ),
    Difference(
        "max_affected_before_the_rules",
        "counts the rows before it updates or deletes them: PGRST124 where a rule is broken too",
        "the statement comes first, and what it breaks is told (failExceedsMaxAffectedPref in MainTx.hs)",
        "the server may say PGRST124 where the twin tells another error",
    ),
    Difference(
        "operators_on_a_path",
        "compares with = where match, imatch, contains or contained_by is asked of a path",
        "the operator that was asked for",
        "such queries are not sent to the server; test_paths.py compares them with PostgreSQL itself",
    ),
)


def excused(table: Table, filters: Filter | None) -> bool:
    """Whether the query holds `in` on an array column, or on a path an operator that the server takes for =."""
    return any(map(partial(_is_excused, table), comparisons(None if filters is None else fold(filters))))


def _is_excused(table: Table, leaf: Comparison) -> bool:
    if is_path(leaf.column or ""):
        return leaf.operator in (Operator.MATCH, Operator.IMATCH, Operator.CONTAINS, Operator.CONTAINED_BY)
    return leaf.operator in (Operator.IN, Operator.NOT_IN) and table.columns[leaf.column or ""].type.endswith("[]")


def as_the_server_tells(value: str | None) -> str | None:
    """The twin's answer with the text "NULL" for NULL elements in the columns that are arrays."""
    rows: Any = json.loads(value) if value else None
    for row in rows if isinstance(rows, list) else [rows] if isinstance(rows, dict) else ():
        if isinstance(row.get("tags"), list):
            row["tags"] = ["NULL" if item is None else item for item in row["tags"]]
    return value if rows is None else json.dumps(rows, sort_keys=True, ensure_ascii=False)

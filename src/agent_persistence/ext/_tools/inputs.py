"""The arguments of the tools: plain texts and lists with limits, and no `null` where a default does."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints

from agent_persistence.ext._tools.tool import ToolArguments

MAX_ROWS: Final = 1_000
"""The most rows that a tool can be set up to give at once."""
MAX_CURSOR: Final = 20_000
"""Characters of the longest cursor."""
FILTERS: Final = (
    'Which rows: {"column": value} or {"column": {"operator": value}}; all must hold. null means IS NULL. Operators:'
    " eq, ne, gt, gte, lt, lte, in (a list), not_in, like, ilike (% any text, _ one character), match, imatch (regular"
    " expressions), contains, contained_by, overlaps (lists; ranges as text), adjacent (ranges), text_search; is_null,"
    ' not_null, is_true, is_false take true. {"any_of": [{…}, {…}]}, {"all_of": […]} and {"not": {…}} join filters.'
    ' Example: {"status": {"in": ["new", "open"]}, "score": {"gte": 0.5}}'
)

Name: TypeAlias = Annotated[str, StringConstraints(max_length=200)]
Table: TypeAlias = Annotated[Name, Field(description="The table.")]
FilterObject: TypeAlias = Annotated[dict[str, Any], Field(description=FILTERS)]
Columns: TypeAlias = Annotated[
    list[Name], Field(max_length=100, description="The columns to show; all that may be read where it is left out.")
]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ROWS, description="The most rows to show.")]
Cursor: TypeAlias = Annotated[
    str,
    Field(
        max_length=MAX_CURSOR,
        description="`next_cursor` of the answer before, to go on behind its last row; the rest stays as it was.",
    ),
]
Question: TypeAlias = Annotated[str, Field(min_length=1, max_length=4_000, description="What is looked for, in words.")]
Key: TypeAlias = Annotated[str | int, Field(description="The value of the row's key.")]


class QueryArguments(ToolArguments):
    table: Table
    filters: FilterObject = Field(default_factory=dict)
    select: Columns = Field(default_factory=list)
    order_by: list[Name] = Field(
        default_factory=list,
        max_length=10,
        description='Sort keys, the first one first; "-score" is descending by score.',
    )
    include: list[Name] = Field(
        default_factory=list,
        max_length=5,
        description="Related tables, whose rows are shown with each row, under the table's name.",
    )
    limit: Limit = MAX_ROWS
    cursor: Cursor = ""


class ReadArguments(ToolArguments):
    table: Table
    key: Key
    select: Columns = Field(default_factory=list)


class CountArguments(ToolArguments):
    table: Table
    filters: FilterObject = Field(default_factory=dict)


class ColumnsArguments(ToolArguments):
    table: Table


class TextSearchArguments(ToolArguments):
    table: Table
    column: Annotated[Name, Field(description="The column of text to search.")]
    words: Annotated[str, Field(min_length=1, max_length=1_000, description="The words to look for.")]
    kind: Annotated[
        Literal["plain", "phrase", "websearch"],
        Field(description='All words, this phrase, or as in a web search: quotes, "or", "-".'),
    ] = "websearch"
    filters: FilterObject = Field(default_factory=dict)
    select: Columns = Field(default_factory=list)
    limit: Limit = MAX_ROWS
    cursor: Cursor = ""


class SearchArguments(ToolArguments):
    question: Question
    tables: list[Name] = Field(
        default_factory=list, max_length=50, description="Where to look; everywhere if left out."
    )
    limit: Limit = MAX_ROWS


class ContextArguments(ToolArguments):
    question: Question

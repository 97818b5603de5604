"""`rag preview`: the prompt that a model would get, and where its tokens go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent_persistence.cli.conditions import parse_conditions
from agent_persistence.cli.help import add, group
from agent_persistence.cli.options import AsJson, Kind, PolicyFile, RowsFile, SchemaFile
from agent_persistence.cli.prompt import shown_prompt, shown_tokens
from agent_persistence.cli.running import run, running
from agent_persistence.cli.target import Target
from agent_persistence.query.identifiers import is_name
from agent_persistence.query.predicates import Filter
from agent_persistence.rag_context import BpeTokens, Prompt, RAGContext, TokenBudget, build_rag_context
from agent_persistence.redaction.redacting import Redaction
from agent_persistence.schema.registry import Schema

_TABLES: Final[tuple[str, ...]] = ("clients", "leads", "campaigns", "conversations", "messages")
"""Those that have an option of their own."""


class RagFormat(StrEnum):
    """The form of the prompt."""

    XML = "xml"
    MARKDOWN = "markdown"
    JSON = "json"
    COMPACT = "compact"


@dataclass(frozen=True)
class _Request:
    spec: Path | None
    filters: dict[str, Any]
    limits: dict[str, int]
    question: str | None
    budget: TokenBudget | None
    exact: bool
    redact: bool
    partial: bool


def register(app: typer.Typer) -> None:
    add(
        group(app, "rag", "Preview the prompt of a model."),
        "preview",
        preview,
        "rag preview --lead email=ada@example.org --query 'Which plan?'",
        "rag preview --lead status=new --max-tokens 800 --redact",
        "rag preview --client plan=pro --limit messages=10 --format markdown",
        "rag preview --lead email=ada@example.org --json > context.json",
        "rag preview --lead email=ada@example.org --redact --html context.html",
        "rag preview --spec context.toml --schema schema.toml --where tickets.status=open",
        "# CONDITION is what query --where takes",
    )


def _option(table: str) -> Any:
    return typer.Option(
        f"--{table}", metavar="CONDITION", help=f"The {table}s that are meant.", rich_help_panel="Which records"
    )


def preview(
    lead: Annotated[list[str] | None, _option("lead")] = None,
    client: Annotated[list[str] | None, _option("client")] = None,
    campaign: Annotated[list[str] | None, _option("campaign")] = None,
    conversation: Annotated[list[str] | None, _option("conversation")] = None,
    message: Annotated[list[str] | None, _option("message")] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            metavar="FILE",
            help="A context of your own, as 'context draft' writes it.",
            rich_help_panel="Which records",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="TABLE.CONDITION",
            help="The rows of any table that are meant.",
            rich_help_panel="Which records",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit", metavar="TABLE=ROWS", help="The most rows of a table; 0: none.", rich_help_panel="Which records"
        ),
    ] = None,
    query: Annotated[str | None, typer.Option("--query", metavar="QUESTION", help="What the context is for.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="The most tokens of the prompt.")
    ] = None,
    reserve: Annotated[int, typer.Option("--reserve", min=0, help="Tokens of these for question and answer.")] = 0,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count with the vocabulary o200k_base, of the extra tokens.")
    ] = False,
    form: Annotated[
        RagFormat | None,
        typer.Option("--format", help="The form of the prompt, by default compact with --max-tokens, else xml."),
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Labels in the place of personal data.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page about the prompt, to open in a browser.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on without tables that cannot be read.")] = False,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    rows: RowsFile = None,
    as_json: AsJson = False,
) -> None:
    """Build a model's context and show the prompt as the model would get it, with a report of its tokens.

    The prompt goes to stdout; the report follows it in a terminal, and goes to stderr where stdout is a file or a pipe.
    """
    if reserve and max_tokens is None:
        raise typer.BadParameter("a reserve is kept of --max-tokens, which is missing", param_hint="--reserve")
    with running("rag preview", as_json=as_json) as screen:
        target = Target(kind, policy, schema, rows)
        by_option: dict[str, list[str] | None] = dict(
            zip(_TABLES, (client, lead, campaign, conversation, message), strict=True)
        )
        conditions = _by_table(by_option, where or (), target.schema)
        budget = None if max_tokens is None else TokenBudget(max_tokens, reserve)
        request = _Request(
            spec,
            conditions,
            _limits(limit or (), _TABLES if spec is None else None),
            query,
            budget,
            exact,
            redact,
            partial,
        )
        context = run(_built, target, request)
        prompt = context.prompt(None if form is None else form.value)
        screen.document = _document(context, prompt)
        if html is not None:
            html.write_text(context.to_html(None if form is None else form.value), encoding="utf-8")
        if not as_json:
            shown_prompt(screen, prompt)
            shown_tokens(screen.out if screen.out.is_terminal else screen.err, context, prompt)


async def _built(target: Target, request: _Request) -> RAGContext:
    async with target.facade() as facade:
        return await build_rag_context(
            facade,
            spec=request.spec,
            filters=request.filters,
            limits=request.limits or None,
            query=request.question,
            max_tokens=request.budget,
            token_counter=BpeTokens() if request.exact else None,
            redaction=Redaction.default(target.schema) if request.redact else None,
            on_error="partial" if request.partial else "raise",
        )


def _by_table(by_option: Mapping[str, list[str] | None], where: Iterable[str], schema: Schema) -> dict[str, Filter]:
    """By table the filter in which all conditions hold that are given for it."""
    given = {
        table: (f"--{table.removesuffix('s')}", list(conditions))
        for table, conditions in by_option.items()
        if conditions
    }
    for condition in where:
        table, _, rest = condition.partition(".")
        if not rest or not is_name(table):
            raise typer.BadParameter(f"{condition!r}: write TABLE.CONDITION", param_hint="--where")
        given.setdefault(table, ("--where", []))[1].append(rest)
    parsed = {table: parse_conditions(table, found, schema, option) for table, (option, found) in given.items()}
    return {table: found for table, found in parsed.items() if found is not None}


def _limits(given: Iterable[str], known: Collection[str] | None) -> dict[str, int]:
    """Numbers of rows by table; which tables there are is known before anything is read where no file says it."""
    limits = {}
    for limit in given:
        table, _, rows = limit.partition("=")
        if not is_name(table) or not rows.isdecimal() or (known is not None and table not in known):
            one_of = f", with one of {', '.join(known)}" if known is not None else ""
            raise typer.BadParameter(f"{limit!r}: write TABLE=ROWS{one_of}", param_hint="--limit")
        limits[table] = int(rows)
    return limits


def _document(context: RAGContext, prompt: Prompt) -> dict[str, Any]:
    use = prompt.tokens
    sources = context.sources
    return {
        "format": prompt.format,
        "prompt": prompt.text,
        "tokens": {
            "used": use.used,
            "budget": use.budget,
            "reserve": use.reserve,
            "counter": use.counter,
            "exact": use.exact,
        },
        "report": prompt.report,
        "sources": {ref: {"table": sources[ref][0], "key": sources[ref][1]} for ref in prompt.refs},
        "complete": context.complete,
        "warnings": context.warnings,
    }

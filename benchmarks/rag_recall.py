"""Whether the records that answer a question are in the prompt: questions written by hand over the example data.

Each question has a world (one lead, the leads of one client, or the whole CRM), the messages that answer it, and words
of the answer. For prompts of 500, 1,000 and 2,000 tokens of o200k_base is told the share of questions of which a
message that answers is in the prompt, and the share of which the words themselves are: cutting can remove them.

`hybrid` searches by words and by vectors of spelling, which know no meaning: a model would have to be downloaded. It
is told with the usual k of reciprocal rank fusion and with a small one. `--svg FILE` draws the first of the shares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, TablePolicy, build_rag_context
from agent_persistence.ext.embeddings import HybridRetriever, MemorySearch, NonSemanticEmbedder, Searched
from agent_persistence.rag.ranking.vectors import written
from agent_persistence.rag_context import BpeTokens, RAGContext, Retriever, Scoring
from examples import crm_data
from examples.rag_questions import WORLDS, Question, questions

BUDGETS: Final = (500, 1_000, 2_000)
EVERYTHING: Final = dict.fromkeys(("clients", "campaigns", "leads", "conversations", "messages"), 1_000)
RECENCY_ONLY: Final = Scoring(relevance_weight=0)
HYBRID: Final = {"hybrid": 60, "hybrid, k = 5": 5}
STRATEGIES: Final = ("recency only", "scored", *HYBRID)
COLOURS: Final = {"recency only": "#9aa5b1", "scored": "#2f6fb2", "hybrid": "#e8b87d", "hybrid, k = 5": "#d9822b"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a prompt holds a message that answers, and the words of the answer; and how many tokens it has."""

    question: Question
    strategy: str
    budget: int
    has_record: bool
    has_words: bool
    tokens: int


async def outcomes(asked: Sequence[Question]) -> list[Outcome]:
    service, embedder = await searchable_crm()
    retrievers: dict[str, Retriever] = {
        name: HybridRetriever({"messages": Searched(hybrid="hybrid_search_messages")}, embedder, k=k)
        for name, k in HYBRID.items()
    }
    counter = BpeTokens("o200k_base")
    found = []
    for question in asked:
        for strategy in STRATEGIES:
            context = await build_rag_context(
                service,
                **question.filters(),
                limits=EVERYTHING,
                query=None if strategy == "recency only" else question.question,
                retriever=retrievers.get(strategy),
                scoring=RECENCY_ONLY if strategy == "recency only" else None,
                token_counter=counter,
            )
            found += [outcome(context, question, strategy, budget) for budget in BUDGETS]
    return found


def outcome(context: RAGContext, question: Question, strategy: str, budget: int) -> Outcome:
    prompt = context.prompt("markdown", max_tokens=budget)
    sources = context.sources
    shown = {key for table, key in (sources[ref] for ref in prompt.refs) if table == "messages"}
    return Outcome(
        question, strategy, budget, bool(question.messages & shown), question.answer in prompt.text, prompt.tokens.used
    )


async def searchable_crm() -> tuple[AsyncPersistenceService, NonSemanticEmbedder]:
    """The example data in memory, with a vector for each message and the functions that search them."""
    rows = {table: crm_data.rows(table) for table in EVERYTHING}
    embedder = NonSemanticEmbedder()
    vectors = await embedder.embed([row["content"] or "" for row in rows["messages"]])
    for number, (row, vector) in enumerate(zip(rows["messages"], vectors, strict=True), 1):
        row |= {"id": number, "embedding": written(vector)}
    adapter = InMemoryAdapter(rows, functions=MemorySearch(lambda: adapter, "messages").functions())
    service = AsyncPersistenceService(
        adapter, policy=TablePolicy(read=EVERYTHING.keys(), call={"hybrid_search_messages"}), retry=False
    )
    return service, embedder


def share(found: Sequence[Outcome], of: str) -> float:
    return mean(bool(getattr(one, of)) for one in found)


def table(found: Sequence[Outcome]) -> Iterator[str]:
    """A line for each world and strategy: for each budget the shares with a record and with the words."""
    yield f"{'':<26}" + "".join(f"{budget:>9,} tokens" for budget in BUDGETS)
    for world in (*WORLDS.values(), "all"):
        asked = [one for one in found if world in (one.question.world, "all")]
        yield f"{world}, {len({id(one.question) for one in asked})} questions"
        for strategy in STRATEGIES:
            cells = []
            for budget in BUDGETS:
                some = [one for one in asked if (one.strategy, one.budget) == (strategy, budget)]
                cells.append(f"{share(some, 'has_record'):>10.2f} {share(some, 'has_words'):>5.2f}")
            yield f"  {strategy:<24}" + "".join(cells)


def svg(found: Sequence[Outcome]) -> str:
    """Bars of the share of questions with a message that answers, a group for each world and budget."""
    width, height, left, top, bar, gap = 760, 300, 46, 40, 15, 12
    base = height - 54
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        '  font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for tenth in range(0, 11, 2):
        y = base - (base - top) * tenth / 10
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 10}" y2="{y:.1f}" stroke="#e4e7eb"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    x = float(left + gap)
    for world in WORLDS.values():
        start = x
        for budget in BUDGETS:
            for number, strategy in enumerate(STRATEGIES):
                some = [
                    one for one in found if (one.question.world, one.strategy, one.budget) == (world, strategy, budget)
                ]
                tall = (base - top) * share(some, "has_record")
                parts.append(
                    f'<rect x="{x + number * bar:.1f}" y="{base - tall:.1f}" width="{bar - 2}" height="{tall:.1f}"'
                    f' fill="{COLOURS[strategy]}"><title>{world}, {budget:,} tokens, {strategy}:'
                    f" {share(some, 'has_record'):.0%}</title></rect>"
                )
            parts.append(f'<text x="{x + 1.5 * bar:.1f}" y="{base + 16}" text-anchor="middle">{budget:,}</text>')
            x += len(STRATEGIES) * bar + gap
        parts.append(
            f'<text x="{(start + x - gap) / 2:.1f}" y="{base + 36}" text-anchor="middle" font-weight="bold">'
            f"{world}</text>"
        )
        x += 2 * gap
    for number, strategy in enumerate(STRATEGIES):
        at = left + gap + number * 130
        parts.append(f'<rect x="{at}" y="12" width="12" height="12" fill="{COLOURS[strategy]}"/>')
        parts.append(f'<text x="{at + 18}" y="22">{strategy}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, help="draw the shares into this file")
    parser.add_argument("--misses", action="store_true", help="name the questions that 1,000 tokens do not answer")
    options = parser.parse_args()
    found = anyio.run(outcomes, questions())
    print("share of questions with a message that answers, and with the words of the answer")
    print(*table(found), sep="\n")
    if options.misses:
        missed = [one for one in found if one.budget == 1_000 and one.strategy != "recency only" and not one.has_record]
        print(*(f"{one.strategy}: {one.question.question}" for one in missed), sep="\n")
    if options.svg:
        options.svg.write_text(svg(found), encoding="utf-8")


if __name__ == "__main__":
    main()

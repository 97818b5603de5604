"""Whether the turns that answer are in the prompt: public long conversations with questions and labelled evidence.

LoCoMo (`data/locomo10.json` of snap-research/locomo or of a corrected copy, CC BY-NC 4.0) and REALTALK
(danny911kr/REALTALK, the folder `data`) are not part of this repository: give their paths. A sample is a lead, a
session a conversation, a turn a message (its text, then the caption of its picture in brackets), the role is told by
the speaker, `now` is the end of the last session. Told is the mean share of a question's evidence turns that are among
the prompt's references, at 500, 1,000, 2,000 and 4,000 tokens of the default counter, over the categories 1 to 4.

`ours` is build_rag_context with its defaults: the filter of the lead, the question and the budget; `ours, model` has
embedder=LocalEmbedder() besides. Beside them, in the same rendering, the best turns that fit: the newest, those of BM25
(bm25s, Snowball's stemmer, its English stop words), of the model alone, and of both by reciprocal rank (k = 60).
Settings were chosen on the half `--split tune`; the other half is for judging.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from _measure import missing
from _plot import shares as drawn, write

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, build_rag_context
from agent_persistence.ext.embeddings import LocalEmbedder
from agent_persistence.query.records import Row
from agent_persistence.rag.ranking.fusion import Ranking, fuse
from agent_persistence.rag.ranking.vectors import Vector, nearest
from agent_persistence.rag_context import Embedder, EstimatedTokens, RAGContext
from agent_persistence.schema_registry import default_schema

BUDGETS: Final = (500, 1_000, 2_000, 4_000)
TUNED_ON: Final = frozenset({"conv-26", "conv-30", "conv-41", "conv-42", "conv-43"})
CATEGORIES: Final = (1, 2, 3, 4)
NEWEST, BM25, MODEL, FUSED = "newest turns", "BM25 (bm25s, Snowball)", "model alone", "BM25 and model, RRF"
OURS, HYBRID = "ours", "ours, model"
_TURN: Final = re.compile(r"D\d+:\d+")
_SESSION: Final = re.compile(r"session_(\d+)")


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its category, and the turns that answer it."""

    text: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of one long conversation, the turn behind each message, and the questions about it."""

    name: str
    rows: Mapping[str, Sequence[Row]]
    turns: Mapping[int, str]
    questions: Sequence[Question]
    now: datetime

    @property
    def messages(self) -> Sequence[Row]:
        return self.rows["messages"]


# --- the data ---------------------------------------------------------------------------------------------------------


def locomo(path: Path, split: str) -> Iterator[Sample]:
    for told in json.loads(path.read_text(encoding="utf-8")):
        name = told["sample_id"]
        if split == "all" or (name in TUNED_ON) == (split == "tune"):
            talk = told["conversation"]
            yield _sample(name, talk["speaker_a"], talk["speaker_b"], talk, told["qa"], "%I:%M %p on %d %B, %Y")


def realtalk(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("Chat_*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        speakers = told["name"]
        yield _sample(path.stem, speakers["speaker_1"], speakers["speaker_2"], told, told["qa"], "%d.%m.%Y, %H:%M:%S")


def _sample(
    name: str, user: str, other: str, talk: Mapping[str, Any], asked: Sequence[Mapping[str, Any]], form: str
) -> Sample:
    lead = str(uuid5(NAMESPACE_URL, name))
    conversations: list[Row] = []
    messages: list[Row] = []
    turns: dict[int, str] = {}
    for number in sorted(int(found[1]) for key in talk if (found := _SESSION.fullmatch(key)) and talk[key]):
        began = _time(talk[f"session_{number}_date_time"], form)
        key = str(uuid5(NAMESPACE_URL, f"{name} {number}"))
        conversations.append({"id": key, "lead_id": lead, "channel": "chat", "created_at": began.isoformat()})
        for minute, turn in enumerate(talk[f"session_{number}"]):
            turns[len(messages) + 1] = turn["dia_id"]
            messages.append(
                {
                    "id": len(messages) + 1,
                    "conversation_id": key,
                    "role": "user" if turn["speaker"] == user else "assistant",
                    "content": _text(turn),
                    "created_at": (began + timedelta(minutes=minute)).isoformat(),
                }
            )
    rows = {
        "leads": [
            {
                "id": lead,
                "email": f"{user}@{name}.example".lower().replace(" ", "."),
                "first_name": user,
                "created_at": conversations[0]["created_at"],
            }
        ],
        "conversations": conversations,
        "messages": messages,
    }
    ends = datetime.fromisoformat(max(message["created_at"] for message in messages))
    return Sample(name, rows, turns, list(_questions(asked, frozenset(turns.values()))), ends)


def _time(told: str, form: str) -> datetime:
    return datetime.strptime(told.strip(), form).replace(tzinfo=UTC)


def _text(turn: Mapping[str, Any]) -> str:
    text = turn.get("text") or turn.get("clean_text") or ""
    caption = turn.get("blip_caption")
    return f"{text} [{caption}]" if caption else text


def _questions(asked: Sequence[Mapping[str, Any]], known: frozenset[str]) -> Iterator[Question]:
    """Those of the categories with an answer in the conversation; references are told in several ways."""
    for one in asked:
        evidence = frozenset(ref for told in one.get("evidence") or () for ref in _TURN.findall(told)) & known
        if int(one["category"]) in CATEGORIES and evidence:
            yield Question(one["question"], int(one["category"]), evidence)


# --- what chooses the turns -------------------------------------------------------------------------------------------


Strategy = Callable[[Sample], "Chooser"]
Chooser = Callable[[Question, int], frozenset[str]]
"""The turns that a prompt of so many tokens has."""
Order = Callable[[Question], Sequence[int]]
"""The keys of the messages, the best first."""


def ours(sample: Sample, embedder: Embedder | None = None) -> Chooser:
    adapter = InMemoryAdapter(sample.rows, schema=default_schema())
    facade = AsyncPersistenceService(adapter, retry=False).readonly()
    email = sample.rows["leads"][0]["email"]

    async def context(question: Question) -> RAGContext:
        return await build_rag_context(
            facade,
            lead_filters={"email": email},
            query=question.text,
            max_tokens=BUDGETS[-1],
            now=sample.now,
            embedder=embedder,
        )

    @lru_cache(maxsize=1)
    def built(question: Question) -> RAGContext:
        return anyio.run(context, question)

    def chosen(question: Question, budget: int) -> frozenset[str]:
        found = built(question)
        sources = found.sources
        told = (sources[ref] for ref in found.prompt(max_tokens=budget).refs)
        return frozenset(sample.turns[key] for table, key in told if table == "messages")

    return chosen


def newest(sample: Sample) -> Order:
    order = [message["id"] for message in reversed(sample.messages)]
    return lambda question: order


def fits(order: Callable[[Sample], Order]) -> Strategy:
    """The first turns of an order that fit."""

    def strategy(sample: Sample) -> Chooser:
        ordered = lru_cache(maxsize=1)(order(sample))
        return lambda question, budget: _that_fit(sample, ordered(question), budget)

    return strategy


def by_bm25(sample: Sample) -> Order:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25()
    index.index(
        bm25s.tokenize([row["content"] for row in sample.messages], stemmer=stemmer, show_progress=False),
        show_progress=False,
    )

    def ordered(question: Question) -> list[int]:
        sought = bm25s.tokenize([question.text], stemmer=stemmer, show_progress=False)
        places, _ = index.retrieve(sought, k=len(sample.messages), show_progress=False)
        return [sample.messages[place]["id"] for place in places[0]]

    return ordered


def by_model(sample: Sample) -> Order:
    embedder = LocalEmbedder()
    vectors = [Vector.of(one) for one in anyio.run(embedder.embed, [row["content"] for row in sample.messages])]

    def ordered(question: Question) -> list[int]:
        (sought,) = anyio.run(embedder.embed, [question.text])
        return [place + 1 for place, _ in nearest(Vector.of(sought), enumerate(vectors), len(vectors))]

    return ordered


def by_both(sample: Sample) -> Order:
    orders = [by_bm25(sample), by_model(sample)]

    def ordered(question: Question) -> list[int]:
        rankings = [Ranking([("messages", key) for key in order(question)]) for order in orders]
        return [int(key) for (_, key), _ in fuse(rankings)]

    return ordered


def _that_fit(sample: Sample, order: Sequence[int], budget: int) -> frozenset[str]:
    """The first of these messages that fit, rendered as ours are, each with its conversation and its lead."""
    counter, left = EstimatedTokens(), budget - PAGE
    heads: set[str] = set()
    chosen = set()
    for key in order:
        message = sample.messages[key - 1]
        cost = counter.count(f"m{key} {message['role']} 00:00: {message['content']}\n")
        cost += 0 if message["conversation_id"] in heads else HEAD
        if cost > left:
            break
        left -= cost
        heads.add(message["conversation_id"])
        chosen.add(sample.turns[key])
    return frozenset(chosen)


PAGE, HEAD = 60, 14
"""Tokens of a page with one lead, and of the line of a conversation."""

# --- what is told -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a question's evidence that a prompt has."""

    strategy: str
    budget: int
    category: int
    found: float


def shares(samples: Sequence[Sample], strategies: Mapping[str, Strategy]) -> list[Share]:
    told = []
    for sample in samples:
        for name, strategy in strategies.items():
            choose = strategy(sample)
            for question in sample.questions:
                for budget in BUDGETS:
                    found = len(question.evidence & choose(question, budget)) / len(question.evidence)
                    told.append(Share(name, budget, question.category, found))
    return told


def recall(told: Sequence[Share], strategy: str, budget: int, categories: Sequence[int] = CATEGORIES) -> float:
    some = [
        one.found for one in told if (one.strategy, one.budget) == (strategy, budget) and one.category in categories
    ]
    return mean(some) if some else float("nan")


def table(told: Sequence[Share], strategies: Sequence[str]) -> Iterator[str]:
    yield f"{'':<26}" + "".join(f"{budget:>8,}" for budget in BUDGETS) + "  tokens"
    for name in strategies:
        yield f"{name:<26}" + "".join(f"{recall(told, name, budget):>8.3f}" for budget in BUDGETS)
        for category in sorted({one.category for one in told}):
            cells = "".join(f"{recall(told, name, budget, [category]):>8.3f}" for budget in BUDGETS)
            yield f"  category {category:<15}{cells}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locomo", type=Path, help="the file locomo10.json")
    parser.add_argument("--split", choices=("tune", "held", "all"), default="all", help="which half of LoCoMo")
    parser.add_argument("--realtalk", type=Path, help="the folder with Chat_*.json")
    parser.add_argument("--only-ours", action="store_true", help="leave out what ours is compared with")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--svg", type=Path, metavar="DIR", help="draw the figures into this directory")
    options = parser.parse_args()
    if not (options.locomo or options.realtalk):
        parser.error("give --locomo PATH, --realtalk PATH or both")
    if not options.only_ours and (absent := missing("bm25s", "Stemmer")):
        sys.exit(absent)
    strategies: dict[str, Strategy] = {OURS: ours, HYBRID: partial(ours, embedder=LocalEmbedder())}
    if not options.only_ours:
        strategies = {
            NEWEST: fits(newest),
            BM25: fits(by_bm25),
            MODEL: fits(by_model),
            FUSED: fits(by_both),
            **strategies,
        }
    sets: dict[str, list[Sample]] = {}
    if options.locomo:
        sets[f"LoCoMo, {options.split}"] = list(locomo(options.locomo, options.split))
    if options.realtalk:
        sets["REALTALK"] = list(realtalk(options.realtalk))
    figures = {}
    for name, samples in sets.items():
        told = shares(samples, strategies)
        count = sum(len(sample.questions) for sample in samples)
        figures[name] = {one: {str(budget): recall(told, one, budget) for budget in BUDGETS} for one in strategies}
        if not options.json:
            print(f"{name}: {len(samples)} conversations, {count} questions")
            print(*table(told, list(strategies)), sep="\n")
        if options.svg:
            curves = {one: [(budget, recall(told, one, budget)) for budget in BUDGETS] for one in strategies}
            title = f"The share of the turns that answer, {name}"
            write(options.svg, {f"memory-recall-{name.split(',')[0].lower()}": drawn(title, curves, across="tokens")})
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

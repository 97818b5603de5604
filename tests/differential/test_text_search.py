"""PostgreSQL itself judges full-text search with the configuration `simple`: all four ways of writing a query."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given, strategies as st

from agent_persistence import InMemoryAdapter
from agent_persistence.backends.memory import lexemes, tsquery
from agent_persistence.filters import text_search
from tests.differential import strategies
from tests.differential.examples import examples
from tests.differential.test_sql import ONE_COLUMN
from tests.differential.twins import Twins, canonical

FUNCTIONS = {
    "plain": "plainto_tsquery",
    "phrase": "phraseto_tsquery",
    "websearch": "websearch_to_tsquery",
    "tsquery": "to_tsquery",
}
WORDS = [
    "a",
    "b",
    "c",
    "A",
    "foo",
    "Foo",
    "fool",
    "über",
    "Ünder",
    "漢字",
    "or",
    "and",
    "don't",
    "R&D",
    "x_y",
    "a:b",
    "#a",
]
HYPHENATED = ["a-b", "foo-b", "a-1b", "a1-b2-c", "ü-b", "a--b", "-a", "b-", "a-b_c", "a-b,c-d"]
NUMBERS = [
    "5",
    "-3",
    "+7",
    "3.5",
    "-3.5",
    "1e5",
    "1E+5",
    "5eur",
    "a1",
    "2024-01-02",
    "12:30",
    "1,000",
    "50%",
    "5.",
    "$5",
]
SIGNS = [
    ",",
    ".",
    "...",
    "!",
    "-",
    "--",
    "(",
    ")",
    "'",
    '"',
    "&",
    "|",
    "/",
    "\\",
    "<",
    "<3",
    "[",
    "@",
    "\x01",
    "=",
    "*",
]
REFUSED = [
    "a.b",
    "v1.2",
    "a@b.de",
    "http://a.de/x",
    "/x",
    "a/b",
    "~x",
    "<b>",
    "&amp;",
    "1.2.3",
    "-1a",
    "e\u0301",
    "—",
    "🚀",
    "İ",
]
GAPS = st.sampled_from([" ", " ", " ", " ", "", ", ", "\n", "  "])
GRAMMAR = [
    " & ",
    "|",
    " ! ",
    "!",
    " <-> ",
    "<2>",
    "<0>",
    " <99999> ",
    " ( ",
    ")",
    ":*",
    " a:* & ",
    "fo:*",
    " or ",
    " OR ",
    " -",
]


def joined(*vocabulary: list[str], size: int = 6) -> st.SearchStrategy[str]:
    """Words of these lists, most of them a word that stands in many texts, with what parts them."""
    word = st.sampled_from(["a", "b", "c"]) | st.one_of(*map(st.sampled_from, vocabulary))
    return st.lists(st.tuples(word, GAPS), max_size=size).map(lambda drawn: "".join(a + b for a, b in drawn))


plain = joined(WORDS, WORDS, HYPHENATED, NUMBERS, SIGNS)
texts = st.one_of(plain, plain, plain, plain, joined(WORDS, REFUSED), strategies.texts)
operands = st.sampled_from(
    ["a", "b", "foo", "a-b", "fo:*", "(a|b)", "(a & b)", "(a <-> b | c)", "!c", "-3", "(b <2> c)"]
)
well_formed = st.lists(st.tuples(operands, st.sampled_from([" & ", "|", " <-> ", "<2>"])), max_size=3).map(
    lambda drawn: "".join(a + b for a, b in drawn) + "a"
)
QUERIES = {
    "plain": joined(WORDS, HYPHENATED, NUMBERS, SIGNS, size=3),
    "phrase": joined(WORDS, HYPHENATED, NUMBERS, size=3),
    "websearch": joined(WORDS, HYPHENATED, SIGNS, GRAMMAR, ['"a b"', '"', '-"b c"']),
    "tsquery": st.one_of(well_formed, well_formed, joined(WORDS, SIGNS, GRAMMAR)),
}


def compare(twins: Twins, found: list[str], kind: str, query: str) -> None:
    """The twin selects the texts that PostgreSQL selects, or is refused with its code."""
    memory = InMemoryAdapter({"t": [{"c": text} for text in found]}, schema=ONE_COLUMN["text"])
    condition = text_search(query, kind=kind, config="simple")
    ours = twins.outcome(memory, lambda memory: memory.query("t", {"c": condition}, select=["c"]))
    if not ours.refused:
        assert (ours.code or ours.value) == matched_by_postgresql(twins, found, kind, query), (kind, query)


def matched_by_postgresql(twins: Twins, found: list[str], kind: str, query: str) -> str | None:
    """The texts that match, in their order, or the SQLSTATE."""
    try:
        return canonical(
            twins.server.execute(
                "select c from unnest(%s::text[]) with ordinality as r(c, n)"
                f" where to_tsvector('simple', c) @@ {FUNCTIONS[kind]}('simple', %s) order by n",
                found,
                query,
            )
        )
    except psycopg.Error as error:
        return error.sqlstate


@pytest.mark.parametrize("kind", FUNCTIONS)
@given(data=st.data(), found=st.lists(texts, min_size=1, max_size=3))
@examples(60)
def test_a_text_search_finds_what_postgresql_finds(
    twins: Twins, kind: str, data: st.DataObject, found: list[str]
) -> None:
    """Words, numbers, hyphenated words and what is between them; queries in PostgreSQL's syntax, faulty ones too."""
    twins.tally.most = 0.4
    compare(twins, found, kind, data.draw(QUERIES[kind], label="query"))


@pytest.mark.parametrize("text", [*WORDS, *HYPHENATED, *NUMBERS, *SIGNS, "a...b", "a. b", "ü.b", "5-3", "x,-5"])
def test_a_text_has_the_lexemes_that_postgresql_finds(twins: Twins, text: str) -> None:
    """With their positions."""
    theirs = twins.server.execute("select * from unnest(to_tsvector('simple', %s))", f"{text} b")
    assert lexemes.vector(f"{text} b") == {row["lexeme"]: row["positions"] for row in theirs}


@pytest.mark.parametrize("text", REFUSED)
def test_a_text_that_is_not_followed_is_refused(twins: Twins, text: str) -> None:
    """As the text and as the query."""
    twins.tally.most = 1.0
    for stored, query in ((f"a {text}", "a"), ("a", f"a {text}")):
        compare(twins, [stored], "plain", query)
    assert twins.tally.refused == 2


def test_every_letter_that_is_followed_is_one_to_postgresql(twins: Twins) -> None:
    """And has the lower case that is its there."""
    letters = [chr(code) for code in range(0xC0, 0x10000) if lexemes._is_letter_everywhere(chr(code))]
    rows = twins.server.execute(
        "select tsvector_to_array(to_tsvector('simple', 'x' || c || 'y')) as told"
        " from unnest(%s::text[]) with ordinality as r(c, n) order by n",
        letters,
    )
    assert [lexemes.lexemes(f"x{letter}y") for letter in letters] == [row["told"] for row in rows]
    assert len(letters) > 40_000


def test_an_unfaithful_search_is_caught(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: one that takes a phrase for its words in any order."""
    compare(twins, ["b a"], "phrase", "a b")
    monkeypatch.setattr(tsquery.Followed, "holds", tsquery.Both.holds)
    with pytest.raises(AssertionError):
        compare(twins, ["b a"], "phrase", "a b")

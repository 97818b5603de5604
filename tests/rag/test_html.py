"""The page about a context: complete, escaped, loading nothing, and without what the redaction replaces."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given

from agent_persistence import InMemoryAdapter, RAGContext, create_persistence_agent
from agent_persistence.rag_context import PromptFormat, build_rag_context
from agent_persistence.redaction import Redaction
from tests.rag.worlds import ANY_TEXT, CLIENT, LEAD, TALK, message, talk_of

FORMATS: tuple[PromptFormat, ...] = ("xml", "markdown", "json", "compact")
HOSTILE = '</pre></iframe>"\'><script>fetch("https://evil.example/")</script><img src=x onerror=alert(1)>\n- m2, role'
SAID = ("My boat leaks", "Write to maya@mail.example", HOSTILE)


class Page(HTMLParser):
    """The elements of a page, its text, and the text of each part of the prompt by the record it leads to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.prompt: list[tuple[str, str]] = []
        self._in_prompt = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.elements.append((tag, told))
        self._in_prompt = self._in_prompt or tag == "pre"
        if self._in_prompt and tag in ("a", "span"):
            self.prompt.append(((told.get("href") or "").removeprefix("#r-"), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in_prompt = self._in_prompt and tag != "pre"

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._in_prompt:
            owner, told = self.prompt.pop()
            self.prompt.append((owner, told + data))


def _asked(**options: Any) -> RAGContext:
    rows = {
        "clients": [CLIENT],
        "leads": [LEAD],
        "conversations": [TALK],
        "messages": [
            message(n, text) for n, text in enumerate(("My boat leaks", "Write to maya@mail.example", HOSTILE))
        ],
    }
    agent = create_persistence_agent(adapter=InMemoryAdapter(rows))

    async def built() -> RAGContext:
        return await build_rag_context(agent, query="Whose boat leaks, maya@mail.example?", **options)

    return anyio.run(built)


@pytest.mark.parametrize("form", FORMATS)
def test_the_page_shows_the_prompt_to_the_last_sign_and_whose_each_part_is(form: PromptFormat) -> None:
    """A text that looks like another record's beginning stays the record's whose text it is."""
    context = talk_of("Hello", HOSTILE, "Bye")
    page = Page(context.to_html(form))
    assert "".join(told for _, told in page.prompt) == context.to_prompt(form)
    owners = {owner for owner, told in page.prompt if "onerror" in told}
    assert owners == {"m2"}
    assert {owner for owner, _ in page.prompt if owner} == set(context.prompt(form).refs)


@given(ANY_TEXT, ANY_TEXT)
def test_no_text_makes_an_element_or_is_lost(one: str, other: str) -> None:
    context = talk_of(one, other)
    page = Page(context.to_html("xml"))
    assert "".join(told for _, told in page.prompt) == context.to_prompt("xml")
    assert [name for name, _ in page.elements] == [name for name, _ in Page(talk_of("a", "b").to_html("xml")).elements]


def test_nothing_is_loaded_run_or_sent() -> None:
    """By the page's policy, and because nothing in it asks for it."""
    html = _asked(max_tokens=300).to_html()
    page = Page(html)
    assert {name for name, _ in page.elements}.isdisjoint({"script", "img", "link", "iframe", "form", "object", "base"})
    for name, told in page.elements:
        assert not [key for key in told if key.startswith("on") or key in ("src", "style")], name
        assert (told.get("href") or "#").startswith("#")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_nothing_that_the_redaction_replaces_is_on_the_page() -> None:
    """Not in the question, the records left out, or the warnings; and no key, which it does not change."""
    assert "maya@mail.example" in _asked().to_html()  # control
    context = _asked(redaction=Redaction.default(), max_tokens=200)
    context.warnings.append("could not write to maya@mail.example")
    html = context.to_html()
    assert "maya@mail.example" not in html
    assert str(LEAD["email"]) not in html
    assert str(LEAD["id"]) not in html
    assert "[EMAIL_" in html
    assert html == context.to_html()
    assert "email" in html[html.index('id="redactions"') : html.index('id="requests"')]


def test_what_is_left_out_and_why_and_when_what_was_asked() -> None:
    page = Page(_asked(max_tokens=120).to_html())
    assert "left out: worth too little for the tokens there are" in page.words
    assert "dropped by budget" in page.words
    assert page.words.count("messages") >= 2
    assert "took ms" in page.words


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    context = _asked()
    (frame,) = Page(context._repr_html_()).elements
    assert frame[0] == "iframe"
    assert frame[1]["sandbox"] == ""
    assert frame[1]["srcdoc"] == context.to_html()


CHROMIUM = shutil.which("chromium")


@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_without_a_scroll_bar_sideways(width: int, tmp_path: Path) -> None:
    """On a phone's width too; where there is a browser, else the parser above is all there is."""
    html = _asked(max_tokens=300).to_html()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    if CHROMIUM is None:
        return
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    frame = f'<iframe src="page.html" width="{width}" height="900"></iframe><p id="told"></p>'
    script = (
        "<script>onload = () => { const page = document.querySelector('iframe').contentDocument;"
        "document.getElementById('told').textContent = [page.documentElement.scrollWidth,"
        " page.querySelectorAll('pre a').length,"
        " getComputedStyle(page.querySelector('pre a')).backgroundColor].join(' ')"
        "}</script>"
    )
    (tmp_path / "frame.html").write_text(frame + script, encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom")
    done = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = re.search(r'<p id="told">(\d+) (\d+) (rgb[^<]*)</p>', done.stdout)
    assert told is not None
    assert int(told[1]) <= width
    assert int(told[2]) > 3
    assert told[3] not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")  # the style was let in

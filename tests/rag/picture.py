"""Draws docs/rag-page.svg, what `to_html` makes of the example data: `python -m tests.rag.picture`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import anyio

from agent_persistence import build_rag_context, create_persistence_agent
from agent_persistence.redaction import Redaction
from examples import crm_data

WIDTH, HEIGHT = 1100, 1180
DOCS: Final = Path(__file__).parents[2] / "docs"
QUESTION: Final = "Does the board of Brightwater decide on 27 November?"


async def page() -> str:
    agent = create_persistence_agent("memory", policy=crm_data.LOADER)
    await crm_data.load(agent)
    context = await build_rag_context(
        agent.readonly(),
        lead_filters={"email": "maya.okafor@brightwater.example"},
        query=QUESTION,
        max_tokens=500,
        redaction=Redaction.default(),
    )
    return context.to_html()


def drawn(html: str) -> str:
    """The beginning of the page as a picture: an SVG with the page's own elements and style."""
    (style,) = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    (body,) = re.findall("<body>(.*)</body>", html, re.DOTALL)
    body = body.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    style = style.replace(":root", ".page").replace("body {", ".page {")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
        "<title>The page about a context</title>\n"
        "<desc>Above, the prompt, in which each record has a colour of its own. Below it a table of the records, the"
        " best first: whether each is in the prompt, its score, and the terms of the score.</desc>\n"
        f'<foreignObject width="{WIDTH}" height="{HEIGHT}"><div xmlns="http://www.w3.org/1999/xhtml">'
        f'<style>{style}</style><div class="page">{body}</div></div></foreignObject>\n</svg>\n'
    )


if __name__ == "__main__":
    (DOCS / "rag-page.svg").write_text(drawn(anyio.run(page)), encoding="utf-8")

"""One HTML page that needs no other: its style is in it, no script is, and its policy lets nothing else load. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from typing import Final

from agent_persistence.rag.rendering.visible import visible

COLOURS: Final = 12
"""How many colours records have; they come again after that."""
_STYLE: Final = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b6570; --page: #fff; --box: #f4f5f7; --line: #d5d9de;
  --accent: #0b5cad; --light: 90%; --most: 42%; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #a3abb5; --page: #15181c; --box: #1f2328;
  --line: #383f47; --accent: #7ab7ff; --light: 22%; --most: 62%; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; margin: .2rem 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); } a { color: var(--accent); }
nav a { display: inline-block; padding: .3rem .8rem .3rem 0; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 1px; }
pre, .wide { overflow: auto; max-height: 34rem; border: 1px solid var(--line); border-radius: .4rem; }
pre { padding: .7rem; white-space: pre-wrap; background: var(--box); font: .82rem/1.55 ui-monospace, monospace; }
pre a { color: inherit; text-decoration: none; border-radius: .2rem; }
pre a:hover, pre a:focus { text-decoration: underline; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; }
th, td { padding: .25rem .55rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
th { position: sticky; top: 0; background: var(--box); font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.text { min-width: 16rem; overflow-wrap: anywhere; }
tr:target, a:target { outline: 3px solid var(--accent); outline-offset: -3px; }
svg { display: block; max-width: 100%; } rect { fill: var(--accent); } rect.rest { fill: var(--line); }
.warning { border-left: .3rem solid #c77700; padding-left: .6rem; }
"""
_HUES: Final = "".join(
    f".c{number} {{ background: hsl({number * 360 // COLOURS} 70% var(--light)); }}\n"
    f"rect.c{number} {{ fill: hsl({number * 360 // COLOURS} 60% var(--most)); background: none; }}\n"
    for number in range(COLOURS)
)


class Html(str):
    """Markup of our own; every other text is escaped."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str | float | None) -> Html:
    """An element; `class_` and `for_` are `class` and `for`, attributes of None are left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{joined(content)}</{name}>")


def joined(content: Iterable[str]) -> Html:
    return Html("".join(part if isinstance(part, Html) else text(part) for part in content))


def text(content: str) -> Html:
    """The visible text as character data or a value of an attribute."""
    return Html(escape(visible(content)))


def table(caption: str, columns: Sequence[tuple[str, bool]], rows: Iterable[Html]) -> Html:
    """A table that scrolls by itself, also with the keyboard; columns are names, and whether they hold numbers."""
    heads = joined(tag("th", name, scope="col", class_="n" if is_number else None) for name, is_number in columns)
    body = tag("table", tag("thead", tag("tr", heads)), tag("tbody", *rows))
    return tag("div", body, class_="wide", role="region", aria_label=caption, tabindex=0)


def bar(label: str, shares: Sequence[tuple[float, float, str]], *, width: int = 220) -> Html:
    """A bar from 0 to 1 with parts, each from where, how long, and of which class."""
    made = (
        tag("rect", x=round(start * width, 1), width=round(max(share * width, 0.6), 1), height=12, class_=kind)
        for start, share, kind in shares
        if share > 0
    )
    rest = tag("rect", x=0, width=width, height=12, class_="rest")
    return tag("svg", rest, *made, viewBox=f"0 0 {width} 12", width=width, height=12, role="img", aria_label=label)


def document(title: str, content: Iterable[str]) -> str:
    """The whole page."""
    style = _STYLE + _HUES
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="referrer" content="no-referrer">'),
            tag("title", title),
            Html(f"<style>{style}</style>"),
        ]
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{joined(content)}</body></html>\n'


def framed(page: str) -> str:
    """The page as an element of another one, which it can neither read nor change."""
    return f'<iframe sandbox="" width="100%" height="640" title="context" srcdoc="{escape(page)}"></iframe>'

"""Check a built site: every link and anchor leads somewhere, and nothing is loaded from another host.

    python scripts/check_site.py site

Prints each fault as `page: what`, and ends with 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"audio", "embed", "iframe", "img", "input", "script", "source", "track", "video"}
LOADED_BY_LINK = {
    "dns-prefetch",
    "icon",
    "manifest",
    "modulepreload",
    "preconnect",
    "prefetch",
    "preload",
    "stylesheet",
}
MERMAID = "https://unpkg.com/mermaid"
"""What the theme's script fetches for a drawing in that language."""

_IN_CSS = re.compile(r"url\(\s*[\"']?(?P<url>[^\"')\s]+)|@import\s+[\"'](?P<imported>[^\"']+)")


@dataclass
class Page:
    """What one file refers to."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    """What a browser fetches by itself."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        self.page.loads += _in_css(given.get("style", ""))
        self._in_style = tag == "style"
        if "mermaid" in given.get("class", "").split():
            self.page.loads.append(MERMAID)
        if tag == "a" and given.get("href"):
            self.page.links.append(given["href"])
        elif tag == "link" and LOADED_BY_LINK & set(given.get("rel", "").split()):
            self.page.loads.append(given.get("href", ""))
        elif tag in LOADING:
            self.page.loads += [given[name] for name in ("src", "poster") if given.get(name)]
            self.page.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.page.loads += _in_css(data)


def _in_css(text: str) -> list[str]:
    return [found["url"] or found["imported"] for found in _IN_CSS.finditer(text)]


def read(path: Path) -> Page:
    """What the HTML page, style sheet or drawing refers to."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return Page(loads=_in_css(text))
    reader = _Reader()
    reader.feed(text)
    return reader.page


def faults(site: Path) -> Iterator[str]:
    """Every reference that leads nowhere, and everything that would be loaded from another host."""
    pages = {path: read(path) for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css", ".svg")}
    for path, page in pages.items():
        name = path.relative_to(site)
        for url in page.loads:
            if _is_remote(url):
                yield f"{name}: loads {url}"
        for url in [*page.links, *page.loads]:
            if not _is_remote(url) and not _leads_somewhere(path, url, site, pages):
                yield f"{name}: no such place: {url}"


def _is_remote(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ws", "wss")


def _leads_somewhere(path: Path, url: str, site: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(url)
    if parts.scheme:  # data:, mailto:
        return True
    place = unquote(parts.path)
    target = path if not place else (site / place[1:] if place.startswith("/") else path.parent / place)
    target = target.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site) or not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].anchors


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    found = list(faults(site))
    print("\n".join([*found, f"{len(found)} fault(s) in {len(list(site.rglob('*.html')))} pages"]))
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())

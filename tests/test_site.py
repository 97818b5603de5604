"""The pages hang together, on a code host and as a site; `make docs` builds the site and checks what was built."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

import agent_persistence
from agent_persistence import AsyncPersistenceService, PersistenceConfig, RetryPolicy, TablePolicy
from scripts import check_site, site_pages

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = sorted((ROOT / "docs").rglob("*.md"))
OTHERS: Final = [
    ROOT / name
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "benchmarks/README.md",
        "tests/server/README.md",
        "examples/data/README.md",
    )
]
DRAWINGS: Final = ("chain.svg", "write-protocol.svg", "rag-page.svg")

_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_FENCED = re.compile(r"^( *)(`{3,}).*?^\1\2`* *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()[^()\s]+(?=\))")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    return _FENCED.sub("", text)


def anchors_of(page: Path) -> set[str]:
    """What a code host makes of the headings: lower case, blanks as hyphens, other punctuation left out."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(prose(page.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken_links(page: Path) -> Iterator[str]:
    """Links of the page that lead to no file of the project, or to no heading of it."""
    for link in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = (page.parent / unquote(place)).resolve() if place else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
            yield link


@pytest.mark.parametrize("page", [*DOCS, *OTHERS], ids=name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    """On a code host, where the pages are read as they stand."""
    assert list(broken_links(page)) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    """Control: a missing file, and a missing heading, of another page and of the page itself."""
    (tmp_path / "other.md").write_text("# Some `code`, and more\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md#some-code-and-more) [b](#here) [c](none.md) [d](other.md#none) [e](#none)\n"
        "```text\n[f](none.md)\n```\n",
        encoding="utf-8",
    )
    assert list(broken_links(page)) == ["none.md", "other.md#none", "#none"]


def navigation() -> list[str]:
    """The pages that mkdocs.yml names, in their order."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r"\S+\.md", text[text.index("\nnav:") : text.index("\nmarkdown_extensions:")])


def test_every_page_is_in_the_navigation_once() -> None:
    """A page that nobody finds is as good as none; one that is gone stops the build."""
    wanted = [str(page.relative_to(ROOT / "docs")) for page in DOCS]
    assert sorted(navigation()) == sorted([*wanted, *(f"project/{page}" for page in site_pages.IN_NAVIGATION)])


def test_every_page_is_in_the_index() -> None:
    """docs/README.md is the navigation of a code host."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {PurePosixPath("docs", link.partition("#")[0]) for link in _LINK.findall(index)}
    pages = {PurePosixPath(name(page)) for page in DOCS if page.parent.name == "docs" and page.stem != "README"}
    assert pages <= linked


def test_links_of_the_site_lead_to_its_pages() -> None:
    """Whatever a page links to is a page of docs/, a drawing there, or made from the project's own file."""
    pages = [PurePosixPath(name(page)) for page in DOCS]
    made = site_pages.project_pages([*pages, *map(PurePosixPath, site_pages.IN_NAVIGATION)])
    written = {site_pages.address(page): (ROOT / page).read_text(encoding="utf-8") for page in pages}
    site = {**{at: site_pages.with_site_links(text, PurePosixPath("docs", at)) for at, text in written.items()}, **made}
    drawings = {drawing.name for drawing in (ROOT / "docs").glob("*.svg")}
    for at, text in site.items():
        for link in site_pages.links(text):
            assert str(site_pages.target(PurePosixPath(at), link)) in {*site, *drawings}, (at, link)


def test_a_link_out_of_docs_leads_to_a_page_of_the_site() -> None:
    """A source file becomes a page below project/, a folder a list, a code block stays as it is."""
    page = "[a](../src/x.py) [b](../tests/rag) [c](errors.md#when) [d](../README.md)\n```text\n[e](../src/x.py)\n```\n"
    assert site_pages.with_site_links(page, PurePosixPath("docs/rag.md")) == (
        "[a](project/src/x.py.md) [b](project/tests/rag/index.md) [c](errors.md#when) [d](project/README.md)\n"
        "```text\n[e](../src/x.py)\n```\n"
    )


def test_a_page_made_from_source_holds_all_of_it() -> None:
    """Also where the source holds fences of its own."""
    path = PurePosixPath("tests/test_docs.py")
    made = site_pages.as_markdown(path)
    assert (ROOT / path).read_text(encoding="utf-8") in made
    assert "\n````python\n" in made
    assert "[test_packing.py](rag/test_packing.py): " in site_pages.as_markdown(PurePosixPath("tests/rag"))


def test_every_public_name_is_in_the_reference() -> None:
    """Whoever looks a name up finds its docstring."""
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    documented = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", pages, re.MULTILINE)}
    without_a_page_of_their_own = {"metrics"}  # a module, whose functions are there
    assert set(agent_persistence.__all__) - documented == without_a_page_of_their_own
    assert {"snapshot", "reset"} <= documented


def test_every_option_of_a_service_is_in_the_configuration_page() -> None:
    """With its default; so is every field of the policies."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    first_cells = "".join(re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE))
    for settings in (AsyncPersistenceService, TablePolicy, RetryPolicy, PersistenceConfig):
        options = set(inspect.signature(settings).parameters) - {"self", "adapter"}
        assert {option for option in options if f"`{option}`" not in first_cells} == set(), settings


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_a_drawing_has_words_for_those_who_do_not_see_it_and_colours_for_the_dark(drawing: str) -> None:
    """And loads nothing."""
    text = (ROOT / "docs" / drawing).read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    svg = "{http://www.w3.org/2000/svg}"
    assert len(root.findtext(f"{svg}desc", "")) > 100
    assert root.findtext(f"{svg}title")
    assert "@media (prefers-color-scheme: dark)" in text
    assert check_site.read(ROOT / "docs" / drawing).loads == []


GOOD: Final = """<html><head><link rel="stylesheet" href="a.css"><link rel="canonical" href="https://x.example/">
</head><body><h1 id="top">x</h1><a href="#top">x</a><a href="sub/">x</a><a href="sub/index.html#y">x</a>
<a href="https://x.example/">x</a><a href="mailto:a@x.example">x</a><img src="data:image/png;base64,AA"></html>"""


def site(path: Path, index: str = GOOD, css: str = "p { color: red }") -> Path:
    (path / "sub").mkdir()
    (path / "index.html").write_text(index, encoding="utf-8")
    (path / "a.css").write_text(css, encoding="utf-8")
    (path / "sub" / "index.html").write_text('<p id="y">x</p>', encoding="utf-8")
    return path


def test_a_site_whose_links_lead_somewhere_has_no_fault(tmp_path: Path) -> None:
    """A link to another host is no fault: nobody follows it but who clicks."""
    assert list(check_site.faults(site(tmp_path))) == []


@pytest.mark.parametrize(
    ("index", "fault"),
    [
        ('<a href="none.html">', "index.html: no such place: none.html"),
        ('<a href="#none">', "index.html: no such place: #none"),
        ('<a href="sub/index.html#none">', "index.html: no such place: sub/index.html#none"),
        ('<a href="../out.html">', "index.html: no such place: ../out.html"),
        ('<img src="none.svg">', "index.html: no such place: none.svg"),
        ('<script src="https://cdn.example/x.js">', "index.html: loads https://cdn.example/x.js"),
        ('<script src="//cdn.example/x.js">', "index.html: loads //cdn.example/x.js"),
        ('<link rel="preconnect" href="https://fonts.example">', "index.html: loads https://fonts.example"),
        ('<img srcset="https://cdn.example/x.png 2x">', "index.html: loads https://cdn.example/x.png"),
        ('<pre class="mermaid">', "index.html: loads https://unpkg.com/mermaid"),
        ('<p style="background: url(https://cdn.example/x.png)">', "index.html: loads https://cdn.example/x.png"),
        ('<style>@import "https://cdn.example/x.css"</style>', "index.html: loads https://cdn.example/x.css"),
    ],
)
def test_a_link_to_nowhere_and_what_another_host_would_send_are_faults(tmp_path: Path, index: str, fault: str) -> None:
    """What `make docs` fails on."""
    assert list(check_site.faults(site(tmp_path, index))) == [fault]


def test_a_style_sheet_that_loads_from_another_host_is_a_fault(tmp_path: Path) -> None:
    """Fonts are the usual one."""
    css = "@font-face { src: url('https://fonts.example/x.woff2') }"
    assert list(check_site.faults(site(tmp_path, css=css))) == ["a.css: loads https://fonts.example/x.woff2"]

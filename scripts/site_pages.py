"""The hook of mkdocs.yml: links that leave docs/ lead to pages made from the project's own files.

A link to a Markdown file, a source file or a folder of the project works on a code host as it stands. In the site the
same link leads to `project/…`: the Markdown as it is, the source as one code block, the folder as a list of its modules
with the first line of each docstring. So the site holds no copy that has to be kept up to date, and no link out of it.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IN_NAVIGATION = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
LANGUAGES = {".py": "python", ".sql": "sql", ".jsonl": "json", ".toml": "toml", ".mjs": "javascript"}

_UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
"""Keeps source files out of the site's search."""

_FENCED = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[`~]* *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?P<path>[^()\s#:]+)(?P<anchor>#[^()\s]+)?(?=\))")
_CONTENTS = re.compile(r"(?:^- \[[^\]\n]+\]\(#[^)\n]+\)\n)+\n?", re.MULTILINE)


def links(text: str) -> Iterator[str]:
    """The relative targets of the page's links, without anchors; code blocks have none."""
    for part, is_code in _parts(text):
        if not is_code:
            yield from (link["path"] for link in _LINK.finditer(part))


def target(source: PurePosixPath, link: str) -> PurePosixPath:
    """What the link on the page `source` names; both are paths within the project."""
    return PurePosixPath(posixpath.normpath(source.parent / link))


def address(path: PurePosixPath) -> str:
    """Where the site has the file or folder, as the name of a Markdown page."""
    if path.parts[0] == "docs":
        return str(path.relative_to("docs"))
    if (ROOT / path).is_dir():
        return f"project/{path}/index.md"
    return f"project/{path}" if path.suffix == ".md" else f"project/{path}.md"


def with_site_links(text: str, source: PurePosixPath) -> str:
    """The page with every link as the site needs it."""
    here = posixpath.dirname(address(source)) or "."

    def in_site(link: re.Match[str]) -> str:
        return posixpath.relpath(address(target(source, link["path"])), here) + (link["anchor"] or "")

    return "".join(part if is_code else _LINK.sub(in_site, part) for part, is_code in _parts(text))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is a code block."""
    end = 0
    for fence in _FENCED.finditer(text):
        yield text[end : fence.start()], False
        yield fence[0], True
        end = fence.end()
    yield text[end:], False


def project_pages(pages: Iterable[PurePosixPath]) -> dict[str, str]:
    """The Markdown of every page below `project/`, by address: what `pages` link to, and what these link to."""
    made: dict[str, str] = {}
    waiting = list(pages)
    while waiting:
        source = waiting.pop()
        text = as_markdown(source)
        if source.parts[0] != "docs":
            made[address(source)] = with_site_links(text, source)
        for link in links(text):
            found = target(source, link)
            if found.parts[0] != "docs" and address(found) not in made and found not in waiting:
                waiting.append(found)
    return made


def as_markdown(path: PurePosixPath) -> str:
    """The file or folder as a page."""
    if (ROOT / path).is_dir():
        return _folder(path)
    text = (ROOT / path).read_text(encoding="utf-8")
    return text if path.suffix == ".md" else _code(path, text)


def _code(path: PurePosixPath, text: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
    return f"{_UNSEARCHED}# {path}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text}\n{fence}\n"


def _folder(path: PurePosixPath) -> str:
    lines = [
        f"- [{file.name}]({path.name}/{file.name}): {_first_line(file)}"
        for file in sorted((ROOT / path).glob("*.py"))
        if file.name != "__init__.py"
    ]
    return f"{_UNSEARCHED}# {path}\n\n" + "\n".join(lines) + "\n"


def _first_line(module: Path) -> str:
    told = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return told.partition("\n")[0]


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs: adds the pages below `project/`."""
    from mkdocs.structure.files import File

    written = [PurePosixPath("docs", file.src_uri) for file in files.documentation_pages()]
    for name, text in project_pages([*written, *map(PurePosixPath, IN_NAVIGATION)]).items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs: links as the site needs them, and no list of contents, which stands beside the page."""
    if page.file.src_uri.startswith("project/"):
        return markdown
    return with_site_links(_CONTENTS.sub("", markdown, count=1), PurePosixPath("docs", page.file.src_uri))

"""The pages say what is true: every Python block runs, and prints what the page says it prints."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final
from unittest import mock

import pytest

from tests.local.users import make
from tests.server import LocalServer

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKER: Final = "<!-- against the local server -->"

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    line: int
    """The number of the first line inside the fence."""
    before: str
    """The last line with text on it before the fence; empty where another block is between."""
    follows: Block | None
    """The block that ends just before this one, with nothing but blank lines between."""


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block, in order; a fence ends at one of its own kind that is at least as long."""
    lines = page.splitlines()
    before, previous, number = "", None, 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        number += 1
        if opening is None:
            if lines[number - 1].strip():
                before, previous = lines[number - 1].strip(), None
            continue
        start, fence, indent = number, opening["fence"], len(opening["indent"])
        while number < len(lines) and not re.fullmatch(rf" *{re.escape(fence)}{fence[0]}* *", lines[number]):
            number += 1
        text = "\n".join(line[min(indent, len(line) - len(line.lstrip())) :] for line in lines[start:number])
        previous = Block(opening["language"], text, start + 1, before, previous)
        yield previous
        before, number = "", number + 1


class PageError(AssertionError):
    """A block of a page is wrong; the message begins with the page's name and the block's line."""


def run_page(page: Path, variables: Mapping[str, str]) -> None:
    """Run the Python blocks in order, in one module; `variables` are set for those that follow the marker.

    A block with an `await` outside a function runs in the page's event loop, any other outside of one, so that it
    may call `asyncio.run`.
    """
    shown = list(blocks(page.read_text(encoding="utf-8")))
    expected = {block.follows: block for block in shown if block.follows and block.language == "text"}
    with mock.patch.dict(os.environ), _module(page) as module, asyncio.Runner() as loop:
        for block in shown:
            if block.language == "python":
                with mock.patch.dict(os.environ, variables if block.before == MARKER else {}):
                    printed = _run(page, block, module, loop)
                if block in expected:
                    _compare(page, expected[block], printed)


@contextmanager
def _module(page: Path) -> Iterator[ModuleType]:
    """An importable module for the page's names: classes find the module they were defined in."""
    module = ModuleType(f"page_{page.stem.replace('-', '_').lower()}")
    sys.modules[module.__name__] = module
    try:
        yield module
    finally:
        del sys.modules[module.__name__]


def _run(page: Path, block: Block, module: ModuleType, loop: asyncio.Runner) -> str:
    """What the block printed. It is compiled with the page's name and line numbers, so that tracebacks show them."""
    printed = io.StringIO()
    try:
        code = compile(
            "\n" * (block.line - 1) + block.text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        with redirect_stdout(printed):
            if code.co_flags & inspect.CO_COROUTINE:
                loop.run(eval(code, vars(module)))
            else:
                exec(code, vars(module))
    except Exception as error:
        raise PageError(f"{_place(page, block)}: {type(error).__name__}: {error}") from error
    return printed.getvalue()


def _compare(page: Path, expected: Block, printed: str) -> None:
    """`...` in the expected text stands for any text, also of several lines or none."""
    pattern = ".*?".join(map(re.escape, _stripped(expected.text).split("...")))
    if not re.fullmatch(pattern, _stripped(printed), re.DOTALL):
        raise PageError(f"{_place(page, expected)}: the page says\n{expected.text}\n\nbut printed is\n{printed}")


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _place(page: Path, block: Block) -> str:
    return f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name}:{block.line}"


def missing_from_the_project(commands: str) -> Iterator[str]:
    """What shell commands name as a target of make, a file or a module of the project, and is none."""
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in commands.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for previous, word in zip(["", *words], words, strict=False):
            if previous == "make" and word not in targets:
                yield f"make {word}"
            elif previous == "-m" and re.match(r"(examples|tests|benchmarks|scripts)\b", word):
                module = ROOT / word.replace(".", "/")
                if not (module.with_suffix(".py").exists() or (module / "__main__.py").exists()):
                    yield f"-m {word}"
            elif _is_path(word) and not (ROOT / word).exists():
                yield word


def _is_path(word: str) -> bool:
    """Whether the word is a path inside the project, and not one that only exists after a command has made it."""
    if "://" in word or "=" in word or word.startswith(("-", "$", "~", "/", ".venv", "git@")):
        return False
    return "/" in word or Path(word).suffix in (".py", ".md", ".toml", ".txt", ".sql", ".jsonl")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reader can copy the blocks of a page, in order, and gets what the page shows."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PERSIST_LOCAL_PATH", str(tmp_path))
    if '"local"' in page.read_text(encoding="utf-8"):
        make(tmp_path)
    variables = {}
    if MARKER in page.read_text(encoding="utf-8"):
        server: LocalServer = request.getfixturevalue("server")
        variables = {
            "SUPABASE_URL": server.url,
            "SUPABASE_SERVICE_KEY": server.service_key,
            "DATABASE_URL": server.database_url,
        }
    run_page(page, variables)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_names_what_the_project_has(page: Path) -> None:
    """The targets of make exist, and so do the files and modules."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "bash":
            missing = list(missing_from_the_project(block.text))
            assert not missing, f"{_place(page, block)}: not in the project: {', '.join(missing)}"


def _page(path: Path, text: str) -> Path:
    page = path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_a_page_with_a_wrong_output_fails_and_names_the_line(tmp_path: Path) -> None:
    """Control: the comparison can fail."""
    page = _page(tmp_path, "# Title\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(PageError, match=r"^page\.md:8: the page says\n3\n\nbut printed is\n2"):
        run_page(page, {})


def test_a_page_with_a_failing_block_fails_and_names_the_line(tmp_path: Path) -> None:
    """Control: an exception is not swallowed."""
    with pytest.raises(PageError, match=r"^page\.md:3: ZeroDivisionError"):
        run_page(_page(tmp_path, "words\n```python\n1 / 0\n```\n"), {})


def test_blocks_share_names_and_may_await_or_run_a_loop_of_their_own(tmp_path: Path) -> None:
    """The two ways in which a page calls a coroutine both work, on one page."""
    text = """
```python
import asyncio
async def two() -> int:
    return 2
print(await two(), "and more")
```

```text
2 ... more
```

```python
assert asyncio.run(two()) == 2
```
"""
    run_page(_page(tmp_path, text), {})


def test_variables_are_set_for_marked_blocks_only(tmp_path: Path) -> None:
    """A block without the marker cannot reach the server by accident."""
    text = f"""
{MARKER}
```python
import os
assert os.environ["SUPABASE_URL"] == "http://127.0.0.1:1"
```

```python
assert "SUPABASE_URL" not in os.environ
```
"""
    run_page(_page(tmp_path, text), {"SUPABASE_URL": "http://127.0.0.1:1"})


def test_commands_that_name_what_is_not_there_are_found() -> None:
    """Control: a renamed target, file or module is noticed, and what is there is not."""
    wrong = "make tset  # make nothing\npython no/such.py && python -m examples.no_such\n"
    assert list(missing_from_the_project(wrong)) == ["make tset", "no/such.py", "-m examples.no_such"]
    assert not list(missing_from_the_project("make demo\npip install .\n.venv/bin/python -m examples.crm_demo\n"))


@pytest.mark.parametrize("path", [*PAGES, *sorted((ROOT / "src").rglob("*.py"))], ids=lambda path: path.name)
def test_nothing_sends_a_reader_to_an_index_that_lacks_the_package(path: Path) -> None:
    """Until it is published, whoever installs it by its name gets nothing, or what somebody else put there."""
    assert not re.search(r"(install\s+|\[)['\"]?agent[-_]persistence\b", path.read_text())

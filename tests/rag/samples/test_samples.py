"""Prompts of tables that others designed, by contexts that nobody wrote: as files that a person can read.

`python -m tests.rag.samples.test_samples` writes them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio
import pytest

from agent_persistence import build_rag_context
from agent_persistence.rag_context import PromptFormat, RAGContext
from tests.rag.samples.worlds import HERE, SAMPLES, Sample

pytestmark = pytest.mark.anyio
SNAPSHOTS: Final = HERE / "snapshots"
SUFFIXES: Final[Mapping[PromptFormat, str]] = {"xml": "xml", "markdown": "md", "json": "json", "compact": "txt"}


async def context(sample: Sample) -> RAGContext:
    return await build_rag_context(sample.service(), spec=sample.spec, filters=sample.filters, query=sample.query)


def path(name: str, form: PromptFormat) -> Path:
    return SNAPSHOTS / f"{name}.{SUFFIXES[form]}"


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("name", SAMPLES)
async def test_the_prompt_is_the_one_in_the_file(name: str, form: PromptFormat) -> None:
    """Byte for byte."""
    prompt = (await context(SAMPLES[name])).to_prompt(form)
    assert path(name, form).read_bytes() == prompt.encode() + b"\n"


def test_every_file_belongs_to_a_test() -> None:
    """No snapshot is left behind."""
    assert {file.name for file in SNAPSHOTS.iterdir()} == {path(n, f).name for n in SAMPLES for f in SUFFIXES}


async def write() -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    for name, sample in SAMPLES.items():
        for form in SUFFIXES:
            prompt = (await context(sample)).to_prompt(form)
            path(name, form).write_text(prompt + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    anyio.run(write)

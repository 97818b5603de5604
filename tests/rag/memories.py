"""Conversations of sixty turns in several languages, each with ten questions and the turn that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "memories"
LANGUAGES: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.txt")))


@dataclass(frozen=True, slots=True)
class Memory:
    """The turns, and by question the number of the turn that answers it, from 1."""

    turns: Sequence[str]
    questions: Sequence[tuple[str, int]]


def memory(language: str) -> Memory:
    """Turns are lines; a line of a question has a question mark, the question and the number."""
    lines = (FOLDER / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    asked = [line.split("\t") for line in lines if line.startswith("?\t")]
    return Memory(
        [line for line in lines if not line.startswith("?\t")],
        [(question, int(number)) for _, question, number in asked],
    )

"""A run over files and folders."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_persistence.guard.checking import check
from agent_persistence.guard.findings import Violation, printable
from agent_persistence.guard.places import Places
from agent_persistence.guard.resolving import Resolver
from agent_persistence.guard.sources import python_files, shown_as


@dataclass(frozen=True)
class Report:
    """What a run found, in the order of files and lines, and how many files it looked at."""

    findings: tuple[Violation, ...]
    files: int

    @property
    def summary(self) -> str:
        """The last line of a run."""
        if not self.files:
            return "no Python files there"
        if not self.findings:
            return f"{self.files} files are clean"
        return f"{len(self.findings)} findings in {self.files} files"

    @property
    def status(self) -> int:
        """The exit status: 0 clean, 1 findings, 2 nothing to look at."""
        return (1 if self.findings else 0) if self.files else 2

    def lines(self, form: str) -> Iterator[str]:
        """The findings as "text", or as annotations for "github"."""
        return (finding.github() if form == "github" else finding.text() for finding in self.findings)


def walk(paths: Sequence[Path], factories: Iterable[str] = ()) -> Report:
    """Check every Python file at or below the paths, seen from the current folder.

    Garbage is not collected from then on: trees are kept until there are too many of them, and looking through them
    would be most of the work of a process that is about to end.
    """
    gc.disable()
    root = Path.cwd()
    resolver, places = Resolver(root), Places(tuple(factories))
    findings: list[Violation] = []
    files = 0
    with warnings.catch_warnings(action="ignore"):  # those of the code that is read
        for path in python_files(paths):
            files += 1
            whole = Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay
            findings += check(whole, shown_as(path, root, paths), places, resolver)
    return Report(tuple(sorted(findings)), files)


def missing(paths: Iterable[Path]) -> str | None:
    """What is wrong with the paths: the first that does not exist."""
    return next((f"there is no {printable(str(path))}" for path in paths if not os.path.lexists(path)), None)

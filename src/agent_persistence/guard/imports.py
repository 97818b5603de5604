"""Where the file is that a dotted name is imported from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent_persistence.guard.known import RAW_ROOTS

NOT_READ: Final = RAW_ROOTS | {"agent_persistence"} | sys.stdlib_module_names


def join(origin: str, name: str) -> str:
    """The dotted name of what `origin` holds under the name."""
    return f"{origin}{name}" if origin.endswith(".") else f"{origin}.{name}"


def split(name: str) -> tuple[str, str]:
    """The inverse of `join`: `..a` is a of the package `..`."""
    last = name.rpartition(".")[2]
    origin = name[: -len(last)]
    return (origin if set(origin) == {"."} else origin.rstrip(".")), last


class ImportedFiles:
    """The files of the project below `root`, by the names that other files import them under."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[tuple[Path, str], Path | None] = {}

    def find(self, folder: Path, name: str) -> Path | None:
        """The file that a file of the folder means by this dotted name, if it is one of the project's."""
        asked = (folder, name)
        if asked not in self._paths:
            self._paths[asked] = next((path for path in self._candidates(*asked) if path.is_file()), None)
        return self._paths[asked]

    def _candidates(self, folder: Path, name: str) -> Iterator[Path]:
        parts = [part for part in name.split(".") if part]
        level = len(name) - len(name.lstrip("."))
        above = [folder, *folder.parents]
        if level:
            starts = above[level - 1 : level]
        else:
            starts = [each for each in above if each.is_relative_to(self._root)]
            starts += [each / "src" for each in starts]
        for start in starts:
            whole = start.joinpath(*parts)
            yield from ([whole.with_suffix(".py")] if parts else [])
            yield whole / "__init__.py"

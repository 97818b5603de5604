"""Which files may do what the rules forbid elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Places:
    """What a file's path allows, as seen from the directory the guard runs in, so that nobody's home is a test."""

    factories: tuple[str, ...] = ()

    def allow(self, path: PurePosixPath) -> frozenset[str]:
        name, folders = path.name, path.parts[:-1]
        allowed: set[str] = set()
        if name == "factory.py" or "factories" in folders or any(_matches(path, glob) for glob in self.factories):
            allowed |= {"AP001", "AP003"}
        if "tests" in folders or name == "conftest.py" or re.fullmatch(r"test_.*\.py|.*_test\.py", name):
            allowed.add("AP002")
        return frozenset(allowed)


def _matches(path: PurePosixPath, glob: str) -> bool:
    return fnmatchcase(str(path), glob) or fnmatchcase(str(path), f"*/{glob}")

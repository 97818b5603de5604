"""Files: which there are, how they are called in a report, and what is in one."""

from __future__ import annotations

import ast
import io
import os
import stat
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from agent_persistence.guard.bindings import Module
from agent_persistence.guard.collecting import collected
from agent_persistence.guard.known import MAX_FILE_BYTES, SKIPPED


class UncheckableError(Exception):
    """The file cannot be checked; the message says why."""

    def __init__(self, reason: str, line: int = 1) -> None:
        super().__init__(reason)
        self.line = line


def parse(path: Path) -> Module:
    """The file's module, or UncheckableError."""
    source, text = _read(path)
    try:
        return collected(path, text.replace("\r\n", "\n").replace("\r", "\n"), ast.parse(source))
    except SyntaxError as error:
        version = ".".join(map(str, sys.version_info[:2]))
        raise UncheckableError(f"no syntax of Python {version}: {error.msg}", error.lineno or 1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UncheckableError(f"{type(error).__name__}: {error}") from None


def _read(path: Path) -> tuple[bytes, str]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UncheckableError("no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UncheckableError(f"larger than {MAX_FILE_BYTES:,} bytes")
        source = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return source, source.decode(encoding)
    except OSError as error:
        raise UncheckableError(error.strerror or type(error).__name__) from None
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UncheckableError(f"its encoding: {error}") from None


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every Python file at or below the paths, each once; hidden folders and virtual environments are left out."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        for file in [path] if not path.is_dir() else _below(path):
            status = file.stat() if file.exists() else file.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(
            each
            for each in folders
            if each not in SKIPPED and not each.startswith(".") and not Path(here, each, "pyvenv.cfg").exists()
        )
        yield from (Path(here, file) for file in sorted(files) if file.endswith((".py", ".pyw")))


def shown_as(path: Path, root: Path, given: Sequence[Path]) -> PurePosixPath:
    """The path below the directory the guard runs in; else below the folder that was given."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay
    for base in (root, *(Path(os.path.abspath(each)).parent for each in given)):  # noqa: PTH100
        if whole.is_relative_to(base):
            return PurePosixPath(whole.relative_to(base).as_posix())
    return PurePosixPath(whole.as_posix())

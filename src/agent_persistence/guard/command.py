"""The guard as a command, for where nothing is installed; `agent-persistence guard` is the same."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent_persistence.guard.walking import missing, walk

NAME: Final = "ci_guard_persistence"


def main(description: str | None, arguments: Sequence[str] | None = None) -> int:
    """Print the findings and return the exit status: 0 clean, 1 findings, 2 usage."""
    options = _options(description, arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    report = walk(options.paths, options.factory)
    sys.stdout.writelines(f"{line}\n" for line in report.lines(options.format))
    sys.stderr.write(f"{report.summary if report.files else f'{NAME}: {report.summary}'}\n")
    return report.status


def _options(description: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("paths", nargs="*", type=Path, default=[Path()], help="files and folders (default: this one)")
    parser.add_argument("--format", choices=("text", "github"), default="text", help="github: annotations")
    parser.add_argument(
        "--factory", metavar="GLOB", action="append", default=[], help="where adapters may be made, too"
    )
    options = parser.parse_args(arguments)
    if problem := missing(options.paths):
        parser.error(problem)
    return options

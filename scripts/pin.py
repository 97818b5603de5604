"""Write constraints.txt: the versions that a fresh environment with the groups `dev`, `docs` and `bench` gets today.

python scripts/pin.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = (
    "# What development, CI, the site and the benchmarks run with."
    " Versions only; where they come from is the installer's business.\n"
)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory) / "bin" / "python")
        _run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
        groups = [f"--group={ROOT / 'pyproject.toml'}:{group}" for group in ("bench", "docs")]
        _run(python, "-m", "pip", "install", "--quiet", "-e", str(ROOT), *groups)
        frozen = _run(python, "-m", "pip", "freeze", "--all").splitlines()
    pins = sorted((line for line in frozen if re.match(r"(?!setuptools)[\w.-]+==", line)), key=str.lower)
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8")
    print(f"{len(pins)} versions pinned")


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()

"""Install what was built into empty environments, without extras and with all of them, and use it there.

    python -m build && python scripts/check_dist.py dist

Everything but the wheel comes from the package index. Ends with what failed, or says what was installed.
"""

from __future__ import annotations

import email.parser
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

USE = """
import agent_persistence
from agent_persistence.sync import create_persistence_agent

for name in agent_persistence.__all__:
    getattr(agent_persistence, name)
with create_persistence_agent("memory") as agent:
    lead = agent.write("leads", {"email": "ada@example.org"})
    assert agent.readonly().query("leads", {"email": "ada@example.org"}) == [lead], lead
print(agent_persistence.__version__)
"""
"""What has to work wherever the wheel is installed."""


def main() -> None:
    (wheel,) = Path(sys.argv[1]).glob("*.whl")
    for extras in ([], extras_of(wheel)):
        with tempfile.TemporaryDirectory() as directory:
            venv.create(directory, with_pip=True)
            python = str(Path(directory) / "bin" / "python")
            _run(python, "-m", "pip", "install", "--quiet", f"{wheel}[{','.join(extras)}]" if extras else str(wheel))
            _run(python, "-m", "pip", "check")
            version = _run(python, "-c", USE).strip()
            print(f"{version} works with {', '.join(extras) or 'no extras'}")


def extras_of(wheel: Path) -> list[str]:
    """The extras that the wheel's metadata offers."""
    with zipfile.ZipFile(wheel) as packed:
        (path,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        told = email.parser.Parser().parsestr(packed.read(path).decode())
    return [str(extra) for extra in told.get_all("Provides-Extra", [])]


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()

"""Import of agent_persistence against the import of its four dependencies alone, each in a fresh interpreter.

The clock starts when the interpreter stands, so that its own start does not count; bytecode is written by the round
before the first and read from then on, whatever the environment says about writing it. httpx imports click, rich and
pygments where they happen to be installed, for its command line; that would flatter the ratio, so they are hidden.
`import pydantic` alone loads next to nothing of pydantic; the row with BaseModel says what its first use costs. Where
supabase is installed, importing it is a row too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from _measure import Target, arguments, interleave, report

TARGET: Final = 1.15
DEPENDENCIES: Final = "import httpx, anyio, pydantic, tenacity"
EVERYTHING: Final = "from agent_persistence import *"
STATEMENTS: Final[dict[str, str]] = {
    "its four dependencies": DEPENDENCIES,
    "every public name": EVERYTHING,
    "the package": "import agent_persistence",
    "the four, pydantic.BaseModel used": f"{DEPENDENCIES}; pydantic.BaseModel",
    "every public name, after those": f"{DEPENDENCIES}; pydantic.BaseModel; {EVERYTHING}",
}
PEER: Final = "supabase"
PEER_TARGET: Final = 0.4
if find_spec(PEER):
    STATEMENTS[PEER] = f"import {PEER}"
EVERY_ROOM: Final = (
    "import agent_persistence; [__import__(f'agent_persistence.{module}') for module in agent_persistence._MODULES]"
)
"""As EVERYTHING, by import statements: what importlib.import_module imports, -X importtime does not tell."""
HIDDEN: Final = "import sys; sys.modules['click'] = None"
PROGRAM: Final = """{hidden}; from time import perf_counter
start = perf_counter()
{statement}
print(perf_counter() - start)"""
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| ( *)(\S+)")


def environment(bytecode: str) -> dict[str, str]:
    """This process's, with bytecode kept in a directory of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode}


async def fresh(statement: str, environ: Mapping[str, str]) -> float:
    """The seconds that the statement takes in a new interpreter."""
    program = PROGRAM.format(hidden=HIDDEN, statement=statement)
    done = await anyio.run_process([sys.executable, "-c", program], env=environ)
    return float(done.stdout)


def breakdown(environ: Mapping[str, str], most: int = 25) -> list[str]:
    """The modules that importing every name adds to the four dependencies, the slowest first; self time in ms.

    Tracing makes each module dearer than it is; the order is what counts.
    """
    program = f"{HIDDEN}; {DEPENDENCIES}; sys.stderr.write('-----\\n'); {EVERY_ROOM}"
    command = [sys.executable, "-X", "importtime", "-c", program]
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stderr
    added = [(int(us), name) for us, _, name in _LINE.findall(told.partition("-----\n")[2])]
    ours = sum(us for us, name in added if name.startswith("agent_persistence"))
    lines = [f"  {us / 1000:8.2f} ms  {name}" for us, name in sorted(added, reverse=True)[:most]]
    total = sum(us for us, _ in added)
    return [f"added by us: {ours / 1000:.1f} ms in our modules, {(total - ours) / 1000:.1f} ms in others", *lines, ""]


async def main(rounds: int, as_json: bool, traced: bool) -> None:
    with TemporaryDirectory() as bytecode:
        environ = environment(bytecode)
        cases = {name: partial(fresh, statement, environ) for name, statement in STATEMENTS.items()}
        found = await interleave(cases, rounds=rounds)
        added = ["", *breakdown(environ)] if traced else []
    base = found["its four dependencies"]
    ratios = {name: case.ratio(base) for name, case in found.items()}
    table = [f"{'':<36} {'ms':>8} {'least':>8} {'ratio':>8}"]
    for name, case in found.items():
        table.append(f"  {name:<34} {case.median * 1e3:8.1f} {case.least * 1e3:8.1f} {ratios[name]:8.2f}")
    targets = [Target(name, ratios[name], TARGET, "x") for name in ("every public name", "the package")]
    if PEER in found:
        ratio = found["the package"].ratio(found[PEER])
        targets.append(Target(f"the package / import {PEER}", ratio, PEER_TARGET, "x"))
    report(
        table + added,
        targets,
        {name: case.summary() | {"ratio": ratios[name]} for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=15)
    parser.add_argument("--breakdown", action="store_true", help="list what is imported beyond the dependencies")
    options = parser.parse_args()
    anyio.run(main, options.rounds, options.json, options.breakdown)

"""Fail the build where code goes around the persistence layer.

    python scripts/ci_guard_persistence.py [paths…] [--format text|github] [--factory GLOB]

| rule | what is found | where it is allowed |
|---|---|---|
| AP001 | SupabaseAdapter or PostgresAdapter is constructed | factory.py, factories/, --factory |
| AP002 | clients or campaigns is written to | tests/, test_*.py, *_test.py, conftest.py |
| AP003 | a raw Supabase or PostgREST client is created | factory.py, factories/, --factory |
| AP000 | a file cannot be checked, or a pragma is wrong or allows nothing | nowhere |

`# persistence-guard: allow AP002 reason` allows what is found at its line or, alone on a line, at the next one;
`# persistence-guard: allow-file AP001 reason` what is found in its file.
Exit status: 0 clean, 1 findings, 2 usage. It runs from a checkout, with nothing installed, on the standard library
alone; `agent-persistence guard` is the same as an installed command.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agent_persistence.guard.command import main

if __name__ == "__main__":
    sys.exit(main(__doc__))

"""Finds where code goes around the persistence layer. The standard library only, and nothing else of this package.

| rule | what is found | where it is allowed |
|---|---|---|
| AP001 | SupabaseAdapter or PostgresAdapter is constructed | factory.py, factories/, --factory |
| AP002 | clients or campaigns is written to | tests/, test_*.py, *_test.py, conftest.py |
| AP003 | a raw Supabase or PostgREST client is created | factory.py, factories/, --factory |
| AP000 | a file cannot be checked, or a pragma is wrong or allows nothing | nowhere |

`# persistence-guard: allow AP002 reason` allows what is found at its line or, alone on a line, at the next one;
`# persistence-guard: allow-file AP001 reason` what is found in its file.

It reads the syntax tree, never runs the code, and follows names as far as a file and the files it imports show them:
aliases, attributes, partials, subclasses, constants, loops. What is put together at run time it cannot see; the
policy of the service refuses that.
"""

from agent_persistence.guard.checking import check as check
from agent_persistence.guard.findings import Violation as Violation
from agent_persistence.guard.known import (
    GOVERNANCE_TABLES as GOVERNANCE_TABLES,
    KNOWN_CONSTANTS as KNOWN_CONSTANTS,
    MESSAGES as MESSAGES,
)
from agent_persistence.guard.places import Places as Places
from agent_persistence.guard.resolving import Resolver as Resolver
from agent_persistence.guard.walking import Report as Report, missing as missing, walk as walk

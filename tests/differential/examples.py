"""How many examples a test takes: a share of 300, or of 5,400 where AGENT_PERSISTENCE_DEEP is set; and the seed.

A normal run has one seed for ever, so that a red test is somebody's change; a deep run draws a new one. It is printed,
and AGENT_PERSISTENCE_SEED=N repeats the run that printed N.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any
from zlib import crc32

import hypothesis
from hypothesis import HealthCheck, Phase, settings

DEEP = bool(os.environ.get("AGENT_PERSISTENCE_DEEP"))
DEEPER = 18 if DEEP else 1


def _drawn() -> int:
    """One number for all processes of the run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return crc32(run.encode()) if run else secrets.randbits(32)


SEED = int(os.environ.get("AGENT_PERSISTENCE_SEED") or (_drawn() if DEEP else 1))


def examples(share: int) -> Callable[[Any], Any]:
    """Seed and settings of a test that takes `share` of the normal run's examples."""
    chosen = settings(
        max_examples=share * DEEPER,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    return lambda test: hypothesis.seed(SEED)(chosen(test))

"""Many calls that give up early, and many callers while nothing answers; `make faults` has them at full size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.loop import run
from tests.faults.stacks import STACKS, TRANSPORTS, Stack
from tests.faults.storms import NEXT, Outage, Storm, outage, storm

SEED = 20260304
CALLERS = 1000


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_a_storm_of_deadlines_leaves_every_connection_usable(stack: Stack) -> None:
    """Nothing that was acknowledged is lost, nothing is there twice, and the next hundred calls pass."""
    found = run(storm(stack, 0.3, SEED))
    assert found.holds, found.line()


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "502"])
@pytest.mark.parametrize("stack", TRANSPORTS, ids=str)
def test_an_outage_is_not_multiplied_by_a_crowd(stack: Stack, refused: bool) -> None:
    """A thousand callers at once send at most a tenth more requests than they are, and all are told by the deadline:
    that nothing was applied where nothing was sent, else that it is not known."""
    found = run(outage(stack, CALLERS, refused=refused))
    assert found.holds, found.line()
    assert found.told == {"refused" if refused else "unknown": CALLERS}


STILL = Storm("", 1.0, calls=1, acknowledged=1, lost=0, duplicated=0, passed=NEXT, leaked=None)
SHORT = Outage("", "", callers=100, tries=110, told={}, seconds=1.0, overrun_s=0.25, grown_mib=3.0)


@pytest.mark.parametrize(
    ("good", "breach"),
    [
        *((STILL, breach) for breach in ({"lost": 1}, {"duplicated": 1}, {"passed": NEXT - 1}, {"leaked": "x"})),
        (STILL, {"acknowledged": 0}),
        *((SHORT, breach) for breach in ({"tries": 111}, {"overrun_s": 0.3}, {"grown_mib": 4.0})),
    ],
)
def test_what_does_not_hold_is_told(good: Storm | Outage, breach: dict[str, Any]) -> None:
    """Control: one breach is enough."""
    assert good.holds
    assert not replace(good, **breach).holds

"""Coarser values: a range for a number, a month for a day, the beginning of a code, the network of an address."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Final

_DAY: Final = re.compile(r"(\d{4})(?:-(\d\d))?(?:-\d\d(?:[T ].*)?)?", re.DOTALL)
_RANGE: Final = re.compile(r"(-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)")
_MOST_DIGITS: Final = 20


def to_range(step: Decimal) -> Callable[[str], str | None]:
    """`90000 to 100000` for 96,000 with a step of 10,000: from the first to below the second."""

    def generalise(text: str) -> str | None:
        range_ = _RANGE.fullmatch(text)
        if range_:
            return text if _is_range(Decimal(range_[1]), Decimal(range_[2]), step) else None
        try:
            number = Decimal(text.strip())
        except InvalidOperation:
            return None
        if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
            return None
        low = (number / step).to_integral_value(ROUND_FLOOR) * step
        return f"{low + 0:f} to {low + step:f}"

    return generalise


def _is_range(low: Decimal, high: Decimal, step: Decimal) -> bool:
    return low.adjusted() <= _MOST_DIGITS and high - low == step and low % step == 0


def to_period(unit: str) -> Callable[[str], str | None]:
    """`2026-03` or `2026` for a date or time in ISO 8601."""

    def generalise(text: str) -> str | None:
        day = _DAY.fullmatch(text.strip())
        if not day:
            return None
        return day[1] if unit == "year" or not day[2] else f"{day[1]}-{day[2]}"

    return generalise


def to_beginning(length: int) -> Callable[[str], str | None]:
    """`10***` for the postal code 10115 with a length of 2; nothing is shown of a text that is not longer."""

    def generalise(text: str) -> str | None:
        return text[:length] + "*" * (len(text) - length) if len(text) > length else "*" * len(text)

    return generalise


def to_network(text: str) -> str | None:
    """`203.0.113.0/24` for an IPv4 address in it, and the /48 of an IPv6 address."""
    try:
        given = ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    prefix = 24 if given.version == 4 else 48
    return str(given if given.prefixlen <= prefix else given.supernet(new_prefix=prefix))

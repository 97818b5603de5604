"""What may be done with the values of a column, in the field's terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.redaction import generalising

VALUE: Final = "value"
"""The kind of what nobody gave a kind."""
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Action:
    """What becomes of a column's values.

    A column whose action has a `kind` holds values that are known: they are replaced in other texts too.
    """

    kind: ClassVar[str | None] = None


@dataclass(frozen=True, slots=True)
class Allow(Action):
    """The value is shown as it is."""


@dataclass(frozen=True, slots=True)
class Scan(Action):
    """What the detectors find in the value is replaced, as are known values; in JSON everywhere, keys included."""


@dataclass(frozen=True, slots=True)
class Drop(Action):
    """The column is left out."""

    kind: str | None = None  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.kind is not None:
            check_kind(self.kind)


@dataclass(frozen=True, slots=True)
class Redact(Action):
    """A label stands in the place of the value."""

    kind: str = VALUE  # type: ignore[misc]

    def __post_init__(self) -> None:
        check_kind(self.kind)


@dataclass(frozen=True, slots=True)
class Pseudonymize(Action):
    """A keyed hash stands in the place of the value."""

    kind: str = VALUE  # type: ignore[misc]

    def __post_init__(self) -> None:
        check_kind(self.kind)


@dataclass(frozen=True, slots=True)
class Mask(Action):
    """Stars stand in the place of all but the last characters, of which at most half are shown."""

    kind: str | None = None  # type: ignore[misc]
    keep_last: int = 4

    def __post_init__(self) -> None:
        if self.kind is not None:
            check_kind(self.kind)
        if type(self.keep_last) is not int or self.keep_last < 0:
            raise ConfigurationError(f"keep_last is a number of characters, 0 or more, not {self.keep_last!r}")

    def masked(self, text: str) -> str:
        kept = min(self.keep_last, len(text) // 2)
        return "*" * (len(text) - kept) + text[len(text) - kept :]


@dataclass(frozen=True, slots=True)
class Generalize(Action):
    """A coarser value stands in the place of the value, and a label where there is none.

    Of `step`, `date`, `prefix` and `network` one is given.
    """

    step: int | float | Decimal | None = None
    date: str | None = None
    prefix: int | None = None
    network: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.step is not None, self.date is not None, self.prefix is not None, self.network))) != 1:
            raise ConfigurationError('generalize takes one of step=10_000, date="month", prefix=2 and network=True')
        if self.date not in (None, "month", "year"):
            raise ConfigurationError(f'date is "month" or "year", not {printable(self.date)}')
        if self.prefix is not None and (type(self.prefix) is not int or self.prefix < 1):
            raise ConfigurationError(f"prefix is a number of characters, 1 or more, not {self.prefix!r}")
        if self.network not in (True, False):
            raise ConfigurationError("network is True: the /24 of an IPv4 address, the /48 of an IPv6 address")
        if self.step is not None and not _is_step(self.step):
            raise ConfigurationError(f"step is a positive number from 0.000001 to 10**15, not {self.step!r}")

    def generalised(self, text: str) -> str | None:
        """The coarser value; None where the text is none that has one."""
        return self._way()(text)

    def _way(self) -> Callable[[str], str | None]:
        if self.step is not None:
            return generalising.to_range(Decimal(str(self.step)))
        if self.date is not None:
            return generalising.to_period(self.date)
        return generalising.to_beginning(self.prefix) if self.prefix is not None else generalising.to_network


def _is_step(step: Any) -> bool:
    if type(step) not in (int, float, Decimal) or not Decimal(str(step)).is_finite():
        return False
    return Decimal("0.000001") <= Decimal(str(step)) <= 10**15


def check_kind(kind: object) -> None:
    """Refuse what could not stand in a label."""
    if type(kind) is not str or not _KIND.fullmatch(kind):
        raise ConfigurationError(
            f"{printable(kind)} is no kind; kinds are lower-case letters, digits and _, such as email or person"
        )


def allow() -> Action:
    """Show the values as they are."""
    return Allow()


def drop(kind: str | None = None) -> Action:
    """Leave the column out; with a kind, its values are still found in other texts."""
    return Drop(kind)


def redact(kind: str = VALUE) -> Action:
    """Show a label such as `[EMAIL_1]`, the same for the same value."""
    return Redact(kind)


def mask(kind: str | None = None, *, keep_last: int = 4) -> Action:
    """Show stars and the last characters, at most half of them: `************1111`."""
    return Mask(kind, keep_last)


def pseudonymize(kind: str = VALUE) -> Action:
    """Show a keyed hash such as `email_3f…`: the same in every context and process that has the key."""
    return Pseudonymize(kind)


def generalize(
    *, step: float | Decimal | None = None, date: str | None = None, prefix: int | None = None, network: bool = False
) -> Action:
    """Show a coarser value, by one of

    `step=10_000` (numbers: `90000 to 100000`), `date="month"` or `"year"` (`2026-03`), `prefix=2` (codes: `10***`),
    `network=True` (addresses: `203.0.113.0/24`). What is no such value is shown as `[VALUE_1]`.
    """
    return Generalize(step, date, prefix, network)


def scan() -> Action:
    """Replace what detectors find in the text or JSON, keys included, and the values that are known."""
    return Scan()

"""A log of the calls: one structured event each, for structlog or for the standard library's logging.

agent = create_persistence_agent(observers=[CallLog(structlog.get_logger())])
"""

from __future__ import annotations

import logging
from typing import Any, Final, Literal, Protocol

from agent_persistence.pipeline.observing import AttemptFailed, CallBegun, CallEnded

LOGGER: Final = "agent_persistence.calls"
"""The name of the standard library's logger that is used where none is given."""

EVENT: Final = "persistence call"
"""What structlog knows every call by."""

logging.getLogger(LOGGER).addHandler(logging.NullHandler())  # an application that configures no logging sees none


class KeyValueLogger(Protocol):
    """A logger of structlog's, or one that is called alike."""

    def debug(self, event: str, /, **fields: Any) -> Any: ...
    def info(self, event: str, /, **fields: Any) -> Any: ...
    def warning(self, event: str, /, **fields: Any) -> Any: ...


class CallLog:
    """Writes one event for every call, after its end: a warning if the call failed, else at `level`.

    Its fields are `verb`, `table`, `outcome`, `duration_ms`, `attempts`, `row_count`, and where they apply
    `batch_size`, `error_type` and `code`. A logger of structlog's gets them as keys and values, one of the standard
    library's in `extra`.
    """

    def __init__(
        self, logger: logging.Logger | KeyValueLogger | None = None, *, level: Literal["debug", "info"] = "info"
    ) -> None:
        self._logger = logging.getLogger(LOGGER) if logger is None else logger
        self._level = level

    def __call__(self, call: CallBegun, /) -> _Logged:
        return _Logged(self, call)

    def _write(self, call: CallBegun, end: CallEnded) -> None:
        level = self._level if end.outcome == "ok" else "warning"
        fields = _fields(call, end)
        write = getattr(self._logger, level)
        if isinstance(self._logger, logging.Logger):
            became = end.error_type or end.outcome
            write("%s on %s: %s in %s ms", call.verb, call.table, became, fields["duration_ms"], extra=fields)
        else:
            write(EVENT, **fields)


class _Logged:
    """One call; only its end is logged."""

    __slots__ = ("_call", "_log")

    def __init__(self, log: CallLog, call: CallBegun) -> None:
        self._log = log
        self._call = call

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        """The event says how many attempts there were."""

    def ended(self, end: CallEnded, /) -> None:
        self._log._write(self._call, end)


def _fields(call: CallBegun, end: CallEnded) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "verb": call.verb,
        "table": call.table,
        "outcome": end.outcome,
        "duration_ms": round(end.duration_s * 1000, 2),
        "attempts": end.attempts,
        "row_count": end.row_count,
    }
    where_they_apply = {"batch_size": call.batch_size, "error_type": end.error_type, "code": end.code}
    return fields | {name: value for name, value in where_they_apply.items() if value is not None}

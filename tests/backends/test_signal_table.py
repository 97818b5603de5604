"""The table of signals: what every answer, and every failure to get one, says about the database.

The expectations are written out by hand. The last tests change the classifier, row by row, and see that they notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpcore
import httpx
import pytest

from agent_persistence import AdapterError
from agent_persistence.backends.postgrest import failures, parsing
from agent_persistence.backends.transport import over_httpcore, over_httpx
from agent_persistence.backends.transport.failures import mapped_exceptions
from agent_persistence.backends.transport.messages import Response
from agent_persistence.exceptions import FailureState

NOT_SENT, REJECTED, RETRYABLE, AMBIGUOUS, APPLIED = (
    FailureState.NOT_SENT,
    FailureState.REJECTED,
    FailureState.RETRYABLE,
    FailureState.AMBIGUOUS,
    FailureState.APPLIED,
)
PAGE, TEXT, JSON = ({"content-type": kind} for kind in ("text/html", "text/plain", "application/json"))

Answer = tuple[int, dict[str, str], bytes]


def coded(status: int, code: str) -> Answer:
    return status, JSON, json.dumps({"code": code, "message": "", "details": None, "hint": None}).encode()


ANSWERS: dict[FailureState, list[Answer]] = {
    APPLIED: [(201, JSON, b"{"), (200, JSON, b"\xff"), (201, JSON, b"[]"), (201, JSON, b"[{},{}]")],
    AMBIGUOUS: [
        (200, PAGE, b"<html>Sign in</html>"),
        (408, TEXT, b""),
        (425, TEXT, b""),
        *((status, PAGE, b"<html>") for status in (500, 502, 503, 504, *range(520, 531))),
        (500, JSON, b'{"message": "something"}'),
        *(
            coded(status, code)
            for code in ("PGRST001", "57P01", "57P02", "57P05", "08000", "08006", "08P01")
            for status in (500, 503)
        ),
    ],
    RETRYABLE: [
        (429, TEXT, b""),
        (429, JSON, b"{}"),
        *(coded(status, code) for code in ("40001", "40P01") for status in (409, 500)),
        *(
            coded(status, code)
            for code in ("53000", "53100", "53200", "53300", "55P03", "57P03")
            for status in (500, 503)
        ),
        *(coded(status, code) for code in ("PGRST000", "PGRST002", "PGRST003") for status in (503, 504)),
        (504, PAGE | {"proxy-status": "PostgREST; error=PGRST003"}, b""),
    ],
    REJECTED: [
        *((status, TEXT, b"") for status in (300, 301, 302, 307, 308)),
        *(
            (status, PAGE, b"<html>")
            for status in (400, 401, 402, 403, 404, 405, 406, 409, 413, 414, 415, 416, 431, 540)
        ),
        *(coded(400, code) for code in ("22P02", "22003", "22001", "23502", "23514", "42703", "42P10", "P0001")),
        *(coded(409, code) for code in ("23503", "23505")),
        coded(404, "42P01"),
        coded(404, "42883"),
        coded(401, "42501"),
        coded(403, "42501"),
        coded(401, "PGRST301"),
        coded(401, "PGRST303"),
        coded(300, "PGRST201"),
        coded(500, "57014"),
        coded(500, "XX000"),
        coded(400, "PGRST204"),
        coded(406, "PGRST116"),
    ],
}
FAILURES: dict[FailureState, list[Exception]] = {
    NOT_SENT: [
        httpx.ConnectError(""),
        httpx.ConnectTimeout(""),
        httpx.PoolTimeout(""),
        httpx.ProxyError(""),
        httpx.UnsupportedProtocol(""),
        httpx.InvalidURL(""),
        httpcore.ConnectError(),
        httpcore.ConnectTimeout(),
        httpcore.PoolTimeout(),
        httpcore.ConnectionNotAvailable(),
        httpcore.UnsupportedProtocol(),
        httpcore.ProxyError(),
    ],
    AMBIGUOUS: [
        httpx.WriteTimeout(""),
        httpx.WriteError(""),
        httpx.ReadTimeout(""),
        httpx.ReadError(""),
        httpx.RemoteProtocolError(""),
        httpx.LocalProtocolError(""),
        httpx.CloseError(""),
        httpx.DecodingError(""),
        httpx.TooManyRedirects(""),
        httpx.StreamError(""),
        httpx.HTTPStatusError("", request=httpx.Request("GET", "http://a"), response=httpx.Response(500)),
        httpcore.WriteTimeout(),
        httpcore.WriteError(),
        httpcore.ReadTimeout(),
        httpcore.ReadError(),
        httpcore.RemoteProtocolError(),
        httpcore.LocalProtocolError(),
    ],
}
SIGNALS: list[tuple[Any, FailureState]] = [
    *((answer, state) for state, answers in ANSWERS.items() for answer in answers),
    *((failure, state) for state, failures in FAILURES.items() for failure in failures),
]


def state_of(signal: Answer | Exception) -> FailureState:
    """What a write is told by it."""
    try:
        states = over_httpcore.STATES if type(signal).__module__.startswith("httpcore") else over_httpx.STATES
        with mapped_exceptions(states):
            if isinstance(signal, Exception):
                raise signal
            parsing.parse_rows(Response(*signal), "write", "leads", expected=1)
    except AdapterError as error:
        return error.state
    raise AssertionError("the signal is a success")


def named(signal: object) -> str:
    if isinstance(signal, Exception):
        return type(signal).__name__
    if isinstance(signal, tuple):
        status, headers, content = signal
        code = json.loads(content)["code"] if b'"code"' in content else headers.get("proxy-status", "")
        return f"{status} {code or content.decode(errors='replace')}"
    return str(signal)


@pytest.mark.parametrize(("signal", "state"), SIGNALS, ids=named)
def test_a_signal_has_its_state(signal: Any, state: FailureState) -> None:
    """The code in the body decides before the status does; without either the write may have been applied."""
    assert state_of(signal) is state


def mutations() -> Iterator[tuple[dict[Any, FailureState], Any, FailureState | None]]:
    """Every way to get one row of the classifier's tables wrong: another state, or no row."""
    for table in (failures._STATE_BY_CODE, failures._STATE_BY_STATUS, over_httpx.STATES, over_httpcore.STATES):
        for row, state in list(table.items()):
            yield from ((table, row, other) for other in (*FailureState, None) if other is not state)  # type: ignore[misc]


REDUNDANT = {
    ("57014", None): "any other code is a rejection too",
    (httpx.TransportError, None): "it is a RequestError, which is as ambiguous",
    (httpx.RequestError, None): "it is an HTTPError, which is as ambiguous",
}
"""Rows that say what would hold without them, and stay for who reads the table."""


def test_a_wrong_row_of_the_classifier_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row, with every wrong state and without any, breaks at least one of the expectations above."""
    unnoticed = []
    for table, row, state in mutations():
        with monkeypatch.context() as patch:
            if state is None:
                patch.delitem(table, row)
            else:
                patch.setitem(table, row, state)
            if all(_as_expected(signal, expected) for signal, expected in SIGNALS):
                unnoticed.append((row, state))
    assert set(unnoticed) == REDUNDANT.keys()


def _as_expected(signal: Any, expected: FailureState) -> bool:
    try:
        return state_of(signal) is expected
    except Exception:  # without its row an exception of the client gets through as itself
        return False

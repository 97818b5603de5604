"""Canned answers, at least one for every row of the table that sorts signals into states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tests.backends.stub_server import answer

Saying: TypeAlias = Literal["applied", "rejected", "retryable", "ambiguous"]

HTML: Final = {"Content-Type": "text/html"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`says` is what the answer tells about the write, as a client has to understand it.

    One that `judges` the row, by a SQLSTATE of class 22 or 23, can only come from the database: it tells that the same
    row was not applied by an earlier request either.
    """

    says: Saying
    raw: bytes
    judges: bool = False


def _sqlstate(status: int, code: str) -> bytes:
    told = {"code": code, "message": "told", "details": None, "hint": None}
    return answer(json.dumps(told).encode(), status=status)


def _html(status: int, **headers: str) -> bytes:
    return answer(b"<html>no database here</html>", status=status, headers={**HTML, **headers})


_CODES: Final[dict[Saying, tuple[tuple[int, str], ...]]] = {
    "rejected": (
        *((400, "22P02"), (400, "22001"), (400, "23502"), (409, "23503"), (400, "23514")),
        *((403, "42501"), (401, "42501"), (404, "42P01"), (400, "42703"), (401, "PGRST301"), (500, "57014")),
    ),
    "retryable": (
        *((500, "40001"), (500, "40P01"), (503, "53300"), (503, "53100"), (500, "55P03")),
        *((503, "PGRST000"), (503, "PGRST002"), (504, "PGRST003")),
    ),
    "ambiguous": ((503, "PGRST001"), (503, "08006"), (503, "08000"), (503, "57P01")),
}
_STATUSES: Final[dict[Saying, tuple[int, ...]]] = {
    "rejected": (400, 401, 403, 404, 405, 406, 413, 414, 415, 416, 431),
    "ambiguous": (200, 408, 425, 500, 502, 503, 504, *range(520, 531)),
}
_RETRY_AFTER: Final = {
    "none": {},
    "0": {"Retry-After": "0"},
    "a huge number": {"Retry-After": "99999999999999999999"},
    "a negative number": {"Retry-After": "-5"},
    "junk": {"Retry-After": "soon; \x7f"},
    "a date that has passed": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
    "a date far away": {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"},
}
_UNREADABLE: Final = {
    "invalid JSON": b'[{"id":',
    "invalid UTF-8": b'[{"id":"\xff\xfe"}]',
    "no row": b"[]",
    "two rows": b"[{},{}]",
    "a number": b"1",
    "an object": b'{"a":1}',
}


OF_ANOTHER_CALL: Final = answer(
    b'[{"id":"00000000-0000-0000-0000-00000000dead","subject":"another","email":"x"}]', status=201
)
UNAVAILABLE: Final = _html(503)


def _all() -> Iterator[tuple[str, Answer]]:
    for says, codes in _CODES.items():
        for status, code in codes:
            yield f"{status} with {code}", Answer(says, _sqlstate(status, code), judges=code[:2] in ("22", "23"))
    for says, statuses in _STATUSES.items():
        for status in statuses:
            yield f"{status} with HTML", Answer(says, _html(status))
    for status in (301, 302, 303, 307, 308):
        elsewhere = "http://localhost:{port}/elsewhere"
        yield f"{status} to another host", Answer("rejected", _html(status, Location=elsewhere))
    for name, headers in _RETRY_AFTER.items():
        yield f"429, Retry-After: {name}", Answer("retryable", answer(b"{}", status=429, headers=headers))
    yield "503 with unknown JSON", Answer("ambiguous", answer(b'{"error":"?"}', status=503))
    for name, body in _UNREADABLE.items():
        yield f"201 with {name}", Answer("applied", answer(body, status=201))


ANSWERS: Final = dict(_all())

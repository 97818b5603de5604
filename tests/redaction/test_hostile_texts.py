"""Time on hostile texts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import pytest

from agent_persistence.redaction import DETECTORS, Detector, Redaction, redact

UNITS: Final = {
    "digits": "1",
    "groups": "1 ",
    "dashes": "12-",
    "fours": "4111 ",
    "cards": "4111 1111 1111 1111 ",
    "locals": "a.",
    "ats": "a@",
    "dots": "x@y.",
    "quotes": '"a',
    "colons": "ab:",
    "pluses": "+1 ",
    "ibans": "DE89 ",
    "codes": "a-",
    "amounts": "1,000",
    "currency": "€1 000",
    "years": "2024-",
    "hashes": "#1",
    "urls": "http://",
    "uuids": "00000000-0000-",
    "cues": "tel ",
    "versions": "version 1.",
    "letters": "a",
    "passwords": "password=",
    "questions": "password ",
    "quoted": "token='",
    "hidden": "password=${",
    "tokens": "eyJhbGciOi-",
    "keys": "sk-a-",
    "long keys": "sk-" + "ant-",
    "private keys": "-----BEGIN " + "PRIVATE KEY-----",
    "base64": "-----BEGIN " + "PRIVATE KEY-----\n" + "ZmFr" * 8,
    "logins": "x://a:b@",
    "ports": "x://a:",
    "schemes": "a+",
    "headers": "Authorization: ",
    "marks": "कि@",
    "letters of two scripts": "aअ",
    "breaks": "1\n",
    "countries": "D E ",
}


def _time_s(call: Callable[[], object], *, calls: int) -> float:
    """The processor time of the fastest call."""
    taken = []
    for _ in range(calls):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: type(detector).__name__)
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_time_grows_with_the_length_of_a_hostile_text_and_not_with_its_square(detector: Detector, unit: str) -> None:
    """A text of 1 MB takes about 16 times as long as one of 64 KB; with backtracking it would be 256 times."""

    def find(length: int) -> Callable[[], object]:
        text = unit * (length // len(unit)) + "!a"
        return lambda: list(detector.find(text))

    assert _time_s(find(2**20), calls=1) < 64 * max(_time_s(find(2**16), calls=3), 0.002)


def test_time_of_a_session_grows_with_the_length_of_a_text_too() -> None:
    """With thousands of known names that begin alike, labels, and something to replace in every word."""
    redaction = Redaction({"leads": {"name": redact("person"), "phone": redact("phone")}})
    redactor = redaction.session()
    redactor.learn("leads", [{"name": f"Anna{number}", "phone": f"555 {number:04} 79460112"} for number in range(2000)])

    def redacted(length: int) -> Callable[[], object]:
        text = "Anna Anna7 a@b.co [EMAIL_1] [EMAIL_ Ａ 7 9 " * (length // 40)
        return lambda: redactor.text(text)

    assert _time_s(redacted(2**17), calls=1) < 64 * max(_time_s(redacted(2**13), calls=3), 0.002)


def test_backtracking_would_be_noticed() -> None:
    """Control: a pattern of quadratic time fails the comparison."""
    backtracking = re.compile(r"(?:a+b)")

    def find(length: int) -> Callable[[], object]:
        return lambda: backtracking.search("a" * length)

    assert _time_s(find(2**14), calls=1) > 64 * _time_s(find(2**10), calls=3)

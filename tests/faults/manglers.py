"""What a confused server or gateway makes of a good answer."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.faults.answers import OF_ANOTHER_CALL

if TYPE_CHECKING:
    from tests.faults.proxy import Ending

Mangler: TypeAlias = Callable[[bytes], bytes]


def _with_length(change: int) -> Mangler:
    def mangle(response: bytes) -> bytes:
        return re.sub(rb"Content-Length: (\d+)", lambda m: b"Content-Length: %d" % max(0, int(m[1]) + change), response)

    return mangle


def _chunked(body: Mangler) -> Mangler:
    def mangle(response: bytes) -> bytes:
        head, _, content = response.partition(b"\r\n\r\n")
        return re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head) + b"\r\n\r\n" + body(content)

    return mangle


def _compressed(body: Mangler) -> Mangler:
    def mangle(response: bytes) -> bytes:
        head, _, content = response.partition(b"\r\n\r\n")
        packed = body(content)
        head = re.sub(rb"Content-Length: \d+", b"Content-Encoding: gzip\r\nContent-Length: %d" % len(packed), head)
        return head + b"\r\n\r\n" + packed

    return mangle


@cache
def _bomb() -> bytes:
    """About 70 KB that become 72 MiB, more than the adapter takes: a block that stands for itself, many times."""
    packer = zlib.compressobj(9, wbits=31)
    first, again = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 71


MANGLERS: Final[dict[str, tuple[Mangler, Ending | None]]] = {
    "Content-Length too long": (_with_length(7), "FIN"),
    "Content-Length too short": (_with_length(-7), None),
    "Content-Length 0": (_with_length(-(10**9)), None),
    "Content-Length is no number": (lambda raw: raw.replace(b"Content-Length: ", b"Content-Length: x"), None),
    "Content-Length twice": (lambda raw: raw.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n", 1), None),
    "chunked, well formed": (_chunked(lambda body: b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)), None),
    "chunked, a bad size": (_chunked(lambda body: b"zz\r\n%s\r\n0\r\n\r\n" % body), None),
    "chunked, no last chunk": (_chunked(lambda body: b"%x\r\n%s\r\n" % (len(body), body)), "FIN"),
    "100 KB of header": (lambda raw: raw.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 1), None),
    "a header without a colon": (lambda raw: raw.replace(b"\r\n\r\n", b"\r\nBad Name\r\n\r\n", 1), None),
    "stray bytes behind the response": (lambda raw: raw + b"stray", None),
    "line ends behind the response": (lambda raw: raw + b"\r\n\r\n", None),
    "a second response": (lambda raw: raw + OF_ANOTHER_CALL, None),
    "a second response, then FIN": (lambda raw: raw + OF_ANOTHER_CALL, "FIN"),
    "early hints first": (lambda raw: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + raw, None),
    "Connection: close, then FIN": (lambda raw: raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), "FIN"),
    "Connection: close is a lie": (lambda raw: raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), None),
    "another protocol": (lambda raw: b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "FIN"),
    "no head": (lambda raw: raw.partition(b"\r\n\r\n")[2], "FIN"),
    "gzip, well formed": (_compressed(gzip.compress), None),
    "gzip, cut": (_compressed(lambda body: gzip.compress(body)[:-9]), None),
    "gzip, none": (_compressed(lambda body: body), None),
    "gzip bomb": (_compressed(lambda body: _bomb()), None),
}
"""By name: what becomes of the answer, and how the connection ends, if it does."""

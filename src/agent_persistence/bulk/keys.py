"""Primary keys that an import gives its rows: the same row gets the same key, however often the import is resumed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import shake_128
from typing import Final

_RANDOM_BYTES: Final = 5
BLOCK_ROWS: Final = 256


def row_keys(seed: bytes, made_ms: int) -> Callable[[int], str]:
    """By a row's number its key: a UUID of version 7 (RFC 9562, section 5.7), ascending with the number.

    48 bits of Unix milliseconds, the same for all, then the number in 34 bits (section 6.2, method 1) and 40 bits of
    SHAKE128 of the seed, so that whoever knows one key does not know the next.
    """
    prefix = f"{made_ms & 0xFFFF_FFFF_FFFF:012x}"
    start = f"{prefix[:8]}-{prefix[8:]}-7"

    @lru_cache(maxsize=4)
    def block(number: int) -> list[str]:
        noise = shake_128(seed + number.to_bytes(8)).hexdigest(_RANDOM_BYTES * BLOCK_ROWS)
        high, middle = divmod(number & (1 << 26) - 1, 1 << 14)
        front = f"{start}{high:03x}-{0b10 << 14 | middle:04x}-"
        step = 2 * _RANDOM_BYTES
        return [f"{front}{low:02x}{noise[low * step : (low + 1) * step]}" for low in range(BLOCK_ROWS)]

    return lambda number: block(number >> 8)[number & 0xFF]

"""Primary keys that an import gives its rows: the same row gets the same key, however often the import runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import shake_128
from typing import Final, TypeAlias

from pydantic_core import to_json

from agent_persistence.query.records import Record

RowKeys: TypeAlias = Callable[[int, Record], str]
"""The key of a row, by its number in the source and what it holds."""

_RANDOM_BYTES: Final = 5
_NOISE_DIGITS: Final = 2 * _RANDOM_BYTES
BLOCK_ROWS: Final = 256


def row_keys(seed: bytes, made_ms: int) -> RowKeys:
    """UUIDs of version 7 (RFC 9562, section 5.7), ascending with the row's number.

    48 bits of Unix milliseconds, the same for all, then the number in 34 bits (section 6.2, method 1) and 40 bits of
    SHAKE128 of the seed, so that whoever knows one key does not know the next.
    """
    prefix = f"{made_ms & 0xFFFF_FFFF_FFFF:012x}"

    @lru_cache(maxsize=4)
    def block(number: int) -> list[str]:
        noise = shake_128(seed + number.to_bytes(8)).hexdigest(_RANDOM_BYTES * BLOCK_ROWS)
        front = _front(prefix, 7, number << 8)[:-2]
        return [
            f"{front}{low:02x}{noise[low * _NOISE_DIGITS : (low + 1) * _NOISE_DIGITS]}" for low in range(BLOCK_ROWS)
        ]

    return lambda number, record: block(number >> 8)[number & 0xFF]


def named_keys(key: str) -> RowKeys:
    """UUIDs of version 8 (RFC 9562, section 5.8), the same wherever an import of this key runs.

    48 bits of SHAKE128 of the import's key, the row's number in 34 bits, and 40 bits of SHAKE128 of the key and of what
    the row holds: a row of the same number and another content has another key, between those of its neighbours.
    """
    seed = key.encode()
    prefix = shake_128(seed).hexdigest(6)

    def made(number: int, record: Record) -> str:
        content = to_json(sorted(record.items()), serialize_unknown=True, inf_nan_mode="constants")
        return _front(prefix, 8, number) + shake_128(seed + content).hexdigest(_RANDOM_BYTES)

    return made


def neighbours(first: str, last: str) -> tuple[str, str]:
    """The lowest and the highest key that rows numbered from the first's to the last's can have."""
    return first[:-_NOISE_DIGITS] + "0" * _NOISE_DIGITS, last[:-_NOISE_DIGITS] + "f" * _NOISE_DIGITS


def _front(prefix: str, version: int, number: int) -> str:
    """A UUID as far as the row's number."""
    high, middle = divmod(number >> 8 & (1 << 26) - 1, 1 << 14)
    return f"{prefix[:8]}-{prefix[8:]}-{version}{high:03x}-{0b10 << 14 | middle:04x}-{number & 0xFF:02x}"

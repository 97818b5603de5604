"""Answers of a bounded size: whole rows as far as they fit, of one that does not fit the beginnings of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic_core import to_json

from agent_persistence.query.records import Row

_MARK: Final = "…"
_BYTES_FOR_CUT: Final = 400
_LEAST: Final = 16


def written(value: Any) -> bytes:
    """The value as JSON, whatever a row holds: exact numbers as texts, and NaN, which JSON has not, too."""
    return to_json(value, inf_nan_mode="strings", serialize_unknown=True)


def that_fit(rows: Sequence[Row], max_bytes: int) -> tuple[list[bytes], list[str]]:
    """The rows as JSON, as many from the first on as `max_bytes` hold; and the columns of the first that were cut.

    At least one row is given where there is one: where it is too large alone, its longest values are cut.
    """
    fitting: list[bytes] = []
    left = max_bytes
    for row in rows:
        encoded = written(row)
        left -= len(encoded) + 1
        if left < 0:
            break
        fitting.append(encoded)
    if fitting or not rows:
        return fitting, []
    cut, columns = shortened(rows[0], max(max_bytes - _BYTES_FOR_CUT, _LEAST))
    return [cut], columns


def shortened(row: Row, max_bytes: int) -> tuple[bytes, list[str]]:
    """The row as JSON of at most `max_bytes`, and which of its columns were cut: the longest ones, to one length.

    A cut value is a text, also where it was a list or an object. Where not even the names fit, columns are left out.
    """
    encoded = {name: written(value) for name, value in row.items()}
    length = max((len(value) for value in encoded.values()), default=0)
    while length > _LEAST and _size(encoded, length) > max_bytes:
        length = length * 3 // 4
    kept = {name: _cut(row[name], value, length) for name, value in encoded.items()}
    while len(kept) > 1 and len(written(kept)) > max_bytes:
        kept.popitem()
    cut = [name for name in row if name not in kept or kept[name] is not row[name]]
    return written(kept), cut


def _size(encoded: Mapping[str, bytes], length: int) -> int:
    return sum(len(name) * 2 + 8 + min(len(value), length) for name, value in encoded.items())


def _cut(value: Any, encoded: bytes, length: int) -> Any:
    """The value itself, or a text of the first bytes of it."""
    if len(encoded) <= length:
        return value
    text = value if isinstance(value, str) else encoded.decode()
    left = length - len(_MARK.encode()) - 2
    while text and len(written(text)) - 2 > left:
        text = text[: min(len(text) - 1, len(text) * left // (len(written(text)) - 2))]
    return text + _MARK


def document(rows: Iterable[bytes], rest: Mapping[str, Any], *, name: str = "rows") -> bytes:
    """The answer: the rows under this name, and what else is to be said."""
    encoded = written({name: value for name, value in rest.items() if value not in (None, [], {})})
    begins = written({name: []})[:-2] + b",".join(rows) + b"]"
    return begins + (b"," + encoded[1:] if len(encoded) > 2 else b"}")

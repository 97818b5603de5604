"""Where the next page begins, as a text that a client carries: it stays good after a restart."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final

from pydantic import SecretBytes, SecretStr

from agent_persistence.exceptions import ConfigurationError, ValidationError
from agent_persistence.query.filters import Filters, all_of, any_of, gt, lt, not_null
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Filter
from agent_persistence.runtime.hiding import hidden

_MAC_BYTES: Final = 16
_UNKEYED: Final = b"agent-persistence cursor"
MIN_KEY_BYTES: Final = 16


class Cursors:
    """Writes and reads cursors: the sort values of the last row shown, sealed together with the query they belong to.

    One that was changed, or that stands beside another table, other filters or another order than those it was made
    for, is refused. What it holds goes to the façade as a filter, so that policy and database check it as they check
    the model's own filters; even a forged one could show nothing that filters could not. With `key` it cannot be
    forged. The key is the same after a restart and in all processes that serve the same clients.
    """

    def __init__(self, key: str | bytes | SecretStr | SecretBytes | None = None) -> None:
        key = secret = hidden(key)
        if secret is not None and len(secret) < MIN_KEY_BYTES:
            raise ConfigurationError(f"cursor_key is a secret of at least {MIN_KEY_BYTES} bytes")
        self._key = SecretBytes(sha256(_UNKEYED + _plain(secret)).digest())

    def write(self, binding: Sequence[Any], values: Sequence[Any]) -> str:
        """The cursor of a query, described by `binding`, for what comes behind the row with these sort values."""
        payload = json.dumps([*map(_as_json, values)], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(binding, payload) + payload).rstrip(b"=").decode()

    def read(self, table: str, binding: Sequence[Any], cursor: str) -> list[Any]:
        """The sort values that the cursor holds; ValidationError if it is none of this query's."""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            payload = sealed[_MAC_BYTES:]
            if hmac.compare_digest(sealed[:_MAC_BYTES], self._mac(binding, payload)):
                return [_read(value) for value in json.loads(payload)]
        except (binascii.Error, ValueError, InvalidOperation):
            pass
        raise ValidationError(
            table,
            "cursor is none that this query gave: repeat it with the same table, filters and order, or leave it out",
        )

    def _mac(self, binding: Sequence[Any], payload: bytes) -> bytes:
        bound = json.dumps(binding, sort_keys=True, separators=(",", ":"), default=str).encode()
        return hmac.digest(self._key.get_secret_value(), len(bound).to_bytes(8) + bound + payload, "sha256")[
            :_MAC_BYTES
        ]


def _plain(key: object) -> bytes:
    match key:
        case SecretStr():
            return key.get_secret_value().encode()
        case SecretBytes():
            return key.get_secret_value()
        case _:
            return b""


def _as_json(value: Any) -> Any:
    return [str(value)] if isinstance(value, Decimal) else value


def _read(value: Any) -> Any:
    return Decimal(value[0]) if isinstance(value, list) else value


def behind(order: Sequence[Order], values: Sequence[Any]) -> Filter:
    """The rows that come after the one with these sort values; NULLs are where PostgreSQL puts them by default."""
    key, value = order[0], values[0]
    later: list[Filters] = []
    if key.descending:
        later = [{key.column: not_null()}] if value is None else [{key.column: lt(value)}]
    elif value is not None:
        later = [{key.column: gt(value)}, {key.column: None}]
    tied = [all_of({key.column: value}, behind(order[1:], values[1:]))] if len(order) > 1 else []
    return any_of(*later, *tied)

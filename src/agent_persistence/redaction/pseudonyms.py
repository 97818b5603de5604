"""Values as keyed hashes: the same for the same value and key, and of no use without the key."""

from __future__ import annotations

import re
from hmac import compare_digest, digest
from typing import Any, Final

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.redaction.normalising import normalised

_MIN_KEY_BYTES: Final = 16
_VALUE_BYTES: Final = 12
_CHECK_BYTES: Final = 4
PSEUDONYM: Final = r"[a-z][a-z0-9_]{0,31}_[0-9a-f]{32}"
_PSEUDONYM: Final = re.compile(r"([a-z][a-z0-9_]{0,31})_([0-9a-f]{32})")


class Pseudonyms:
    """Makes pseudonyms with one key, which no repr, pickle or copy of this shows."""

    __slots__ = ("_key",)

    def __init__(self, key: str | bytes) -> None:
        if not isinstance(key, (str, bytes)):
            raise ConfigurationError(f"key is a str or bytes, not {type(key).__name__}")
        self._key = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else bytes(key)
        if len(self._key) < _MIN_KEY_BYTES:
            raise ConfigurationError(
                f"key has {len(self._key)} bytes and needs {_MIN_KEY_BYTES}; make one with secrets.token_urlsafe(32)"
            )

    def of(self, kind: str, value: str) -> str:
        """`email_…` with 24 hexadecimal digits of HMAC-SHA256(key, "email:" + value) and 8 that check them.

        The value is normalised before. A pseudonym of this key is its own pseudonym, whatever its kind.
        """
        if self.made(value):
            return value
        code = self._hash(f"{kind}:{normalised(kind, value)}")[:_VALUE_BYTES]
        return f"{kind}_{code.hex()}{self._check(kind, code).hex()}"

    def made(self, text: str) -> bool:
        """Whether the text is a pseudonym that was made with this key."""
        found = _PSEUDONYM.fullmatch(text)
        if not found:
            return False
        tag = bytes.fromhex(found[2])
        return compare_digest(tag[_VALUE_BYTES:], self._check(found[1], tag[:_VALUE_BYTES]))

    def _check(self, kind: str, code: bytes) -> bytes:
        return self._hash(f"check:{kind}:{code.hex()}")[:_CHECK_BYTES]

    def _hash(self, text: str) -> bytes:
        return digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")

    def __repr__(self) -> str:
        return "Pseudonyms(key=…)"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not pickled; make the Redaction anew where it is needed")

    def __copy__(self) -> Pseudonyms:
        return self

    def __deepcopy__(self, memo: object) -> Pseudonyms:
        return self

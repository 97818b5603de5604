"""The form of an audit log: lines chained by keyed hashes, and a checkpoint that says where they end.

    {"event":{…},"seq":7,"mac":"<64 hex digits>"}

`mac` is HMAC-SHA256(key, the mac of the line before, in hex + the canonical JSON of this line without its mac). The
first line of a file is a head, `{"log":…}`; a line `{"gap":…}` records events or bytes that were lost. What is
signed is the line's own bytes: verifying parses no JSON, and no other spelling of the same values passes.
"""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import SecretBytes, SecretStr

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.pipeline.audit.event import AuditEvent
from agent_persistence.runtime.hiding import hidden

Key: TypeAlias = str | bytes | SecretStr | SecretBytes

KEY_BYTES: Final = 32
MAX_LINE_BYTES: Final = 1 << 20
MAX_KEY_LENGTH: Final = 256
CHECKPOINT_BYTES: Final = 384
"""Less than a sector, so that writing one over the other is never seen half done."""
GENESIS: Final = "0" * 64
"""Stands for the mac before the first line of all."""

_FIELDS: Final = tuple(field.name for field in fields(AuditEvent))
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_LINE = re.compile(rb'(\{.*"seq":(\d{1,18})),"mac":"([0-9a-f]{64})"\}\n', re.DOTALL)


class Signer:
    """Keyed hashes. The key cannot be read back from it."""

    __slots__ = ("_keyed",)

    def __init__(self, key: Key) -> None:
        key = hidden(key)
        self._keyed = hmac.new(_key_bytes(key), digestmod=sha256)

    def sign(self, message: bytes) -> str:
        keyed = self._keyed.copy()
        keyed.update(message)
        return keyed.hexdigest()

    def __reduce__(self) -> Any:
        raise TypeError("a signer holds a secret key and is neither pickled nor copied")


def _key_bytes(key: object) -> bytes:
    key = hidden(key)
    if not isinstance(key, (SecretStr, SecretBytes)):
        raise ConfigurationError(f"the key of an audit log is str, bytes or SecretStr, not {type(key).__name__}")
    if (length := len(_raw(key))) < KEY_BYTES:
        raise ConfigurationError(
            f"the key of an audit log has at least {KEY_BYTES} bytes, this one has {length};"
            " secrets.token_hex(32) makes one"
        )
    return _raw(key)


def _raw(key: SecretStr | SecretBytes) -> bytes:
    raw = key.get_secret_value()
    return raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw


class Before(NamedTuple):
    """The file that a log's head continues: its name, and its last line's mac."""

    file: str
    mac: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line that has the form of one; whether it is genuine is for `follows` to say."""

    body: bytes
    seq: int
    mac: str

    def follows(self, previous: str, signer: Signer) -> bool:
        """Whether the key's holder wrote this line after the one whose mac is `previous`."""
        return hmac.compare_digest(signer.sign(previous.encode() + self.body), self.mac)

    def content(self, kind: str) -> dict[str, Any] | None:
        """What the line holds under "event", "gap" or "log"; None if it is of another kind, or no JSON."""
        if not self.body.startswith(b'{"%s":' % kind.encode()):
            return None
        try:
            content = json.loads(self.body)[kind]
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def continues(self) -> Before | None:
        """The end of the file before, if the line is a head that has one."""
        before = (self.content("log") or {}).get("continues")
        if not isinstance(before, dict):
            return None
        return Before(Path(str(before.get("file"))).name, str(before.get("mac")))


def parse(raw: bytes) -> Line | None:
    """The line with this text, its line end included; None if it has not the form of one."""
    match = _LINE.fullmatch(raw)
    return match and Line(match[1] + b"}", int(match[2]), match[3].decode())


def render(signer: Signer, previous: str, kind: str, content: Mapping[str, Any], seq: int) -> Line:
    body = canonical({kind: content, "seq": seq})
    return Line(body, seq, signer.sign(previous.encode() + body))


def text(line: Line) -> bytes:
    """The inverse of `parse`."""
    return b'%s,"mac":"%s"}\n' % (line.body[:-1], line.mac.encode())


def canonical(content: Mapping[str, Any]) -> bytes:
    """JSON in ASCII, keys sorted, no blanks."""
    return _encode(content).encode()


def content_of(event: AuditEvent) -> dict[str, Any]:
    """The event as JSON values. Keys that are no JSON scalars are given by their type, long ones are cut."""
    content = {name: getattr(event, name) for name in _FIELDS}
    return {**content, "at": event.at.isoformat(), "keys": _plain(event.keys)}


def shortened(content: Mapping[str, Any]) -> dict[str, Any]:
    """For an event of more keys or columns than fit into a line: their numbers."""
    left_out = {f"{name}_left_out": len(content.get(name, ())) for name in ("keys", "columns")}
    return {**content, "keys": [], "columns": [], **left_out}


def _plain(key: object) -> Any:
    match key:
        case tuple() | list():
            return [_plain(part) for part in key]
        case None | bool():
            return key
        case str():
            return key[:MAX_KEY_LENGTH] + "…" * (len(key) > MAX_KEY_LENGTH)
        case int() if key.bit_length() <= 64:
            return key
        case float() if math.isfinite(key):
            return key
        case _:
            return f"<{type(key).__name__}>"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a log ends: its last line's number and mac, the file's size in bytes, and which log it is."""

    log: str
    seq: int
    mac: str
    size: int

    def sign(self, signer: Signer) -> str:
        """The checkpoint as a text that only the key's holder can make."""
        return canonical({**self._content(), "signature": self._signature(signer)}).decode()

    def _content(self) -> dict[str, Any]:
        return {"log": self.log, "seq": self.seq, "mac": self.mac, "size": self.size}

    def _signature(self, signer: Signer) -> str:
        # A line's message begins with hex digits: neither can be taken for the other.
        return signer.sign(b"checkpoint" + canonical(self._content()))

    @classmethod
    def read(cls, signed: str | bytes, signer: Signer) -> Checkpoint | None:
        """The checkpoint of this text, blanks at its end aside; None if it is not genuine."""
        try:
            content = json.loads(signed)
            found = cls(content["log"], content["seq"], content["mac"], content["size"])
            genuine = hmac.compare_digest(found._signature(signer), content["signature"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return found if genuine else None


def checkpoint_path(path: Path) -> Path:
    """Where the log at this path has its checkpoint."""
    return path.with_name(path.name + ".checkpoint")

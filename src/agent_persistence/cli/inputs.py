"""What a command is given in a file or on stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agent_persistence.exceptions import ConfigurationError


def separated(text: str | None) -> list[str] | None:
    """The names between the commas, without blanks around them; None for nothing."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def named(path: Path) -> str:
    """The input's name in messages."""
    return "stdin" if str(path) == "-" else str(path)


def read_text(path: Path) -> str:
    """The text of the file, or of stdin for `-`."""
    try:
        return (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{named(path)} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{named(path)} is no UTF-8 text") from None


def read_json(path: Path) -> Any:
    """The JSON document of the file, or of stdin for `-`."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{named(path)} is no valid JSON: {error}") from None

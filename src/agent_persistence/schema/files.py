"""Documents as TOML and JSON."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent_persistence.exceptions import ConfigurationError, printable


def read(path: Path) -> Any:
    """What the file says; its suffix says how to read it."""
    parse, _ = _format(path)
    try:
        return parse(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"the file cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"no valid {path.suffix[1:].upper()}: {error}") from error


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the document into the file; its suffix says how."""
    _, render = _format(path)
    path.write_text(render(document), encoding="utf-8", newline="\n")


def to_toml(document: Mapping[str, Any]) -> str:
    """The document as TOML, a line for each column."""
    return "\n".join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield "[tables]\n"
    for name, table in document["tables"].items():
        key = key_text(name)
        yield f"[tables.{key}]"
        yield from pairs({key: table[key] for key in ("primary_key", "unique", "paths", "read_only") if key in table})
        yield f"\n[tables.{key}.columns]"
        yield from pairs(table["columns"])
        for foreign_key in table.get("foreign_keys", ()):
            yield f"\n[[tables.{key}.foreign_keys]]"
            yield from pairs(foreign_key)
        yield ""


def pairs(mapping: Mapping[str, Any]) -> Iterator[str]:
    """The mapping as lines of TOML, each a key and its value."""
    for key, value in mapping.items():
        if key == "default" and _holds_null(value):
            yield f"default_json = {_text(json.dumps(value))}"
        else:
            yield f"{key_text(key)} = {_value(value)}"


def key_text(name: str) -> str:
    """The name as a key of TOML."""
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    match value:
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            return f"{{ {', '.join(pairs(value))} }}" if value else "{}"
        case _:
            return json.dumps(value)


_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def _text(text: str) -> str:
    """A basic string (TOML 1.0, section "String"): JSON's escapes, and DEL, which JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _holds_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(_holds_null, value)))


def _to_json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _from_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, unless it says something twice, of which JSON would keep the last."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {printable(twice)} stands twice in one object")
    return result


_FORMATS: Final[dict[str, tuple[Callable[[str], Any], Callable[[Mapping[str, Any]], str]]]] = {
    ".toml": (tomllib.loads, to_toml),
    ".json": (_from_json, _to_json),
}


def _format(path: Path) -> tuple[Callable[[str], Any], Callable[[Mapping[str, Any]], str]]:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        forms = " or ".join(_FORMATS)
        raise ConfigurationError(
            f"schemas, policies and contexts are {forms} files, not {printable(path.suffix)}"
        ) from None

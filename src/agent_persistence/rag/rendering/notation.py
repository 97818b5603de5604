"""Values of rows as texts that a model reads with few tokens: `{docks: 38, sites: [Avonmouth, Hamburg]}`.

It is the flow style of YAML: a text stands without quotes unless it could be taken for something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from agent_persistence.rag.rendering.visible import visible

_PLAIN: Final = re.compile(r"[^\W\d_](?:[\w .@/+%-]*[\w.%])?")
_WORDS_OF_JSON: Final = frozenset({"true", "false", "null"})


def notation(value: Any) -> str:
    """A column's value: a text as it is, what is structured in flow style with sorted keys; nothing for None."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) else flow(value)


def flow(value: Any) -> str:
    """A value inside a structure."""
    if isinstance(value, str):
        return _quoted_if_needed(visible(value))
    if isinstance(value, Mapping):
        items = sorted((_quoted_if_needed(visible(str(key))), flow(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, Decimal):
        return str(value)
    return visible(json.dumps(value, default=str))


def _quoted_if_needed(text: str) -> str:
    if _PLAIN.fullmatch(text) and text not in _WORDS_OF_JSON:
        return text
    return json.dumps(text, ensure_ascii=False)

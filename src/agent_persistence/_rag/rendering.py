"""Context trees as text for a model: escaped, and the same bytes for the same rows."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from agent_persistence._rag.outline import PARENTS, Node
from agent_persistence.identifiers import is_identifier

_TAGS: Final = {
    "clients": "client",
    "campaigns": "campaign",
    "leads": "lead",
    "conversations": "conversation",
    "messages": "message",
}
_LOOSE: Final = frozenset({"conversations", "messages"})
_TIME: Final = "created_at"


def render_xml(roots: Sequence[Node], refs: dict[str, dict[Any, str]]) -> str:
    """The trees inside one `<crm_context>` element; `refs` gives the reference of a row by table and key.

    Every value is escaped and stands inside the element or attribute of its column, so that no content can close a
    tag. NULLs, keys and foreign keys are left out; a reference (`ref`) names each record.
    """
    if not roots:
        return "<crm_context>\nNo matching records were found.\n</crm_context>"
    lines = ["<crm_context>"]
    for root in roots:
        if root.table not in _LOOSE:
            lines += _element(root, refs, 1)
    loose = [root for root in roots if root.table in _LOOSE]
    if loose:
        lines.append("  <without_parent>")
        for root in loose:
            lines += _element(root, refs, 2)
        lines.append("  </without_parent>")
    return "\n".join([*lines, "</crm_context>"])


def _element(node: Node, refs: dict[str, dict[Any, str]], depth: int) -> Iterator[str]:
    indent = "  " * depth
    tag = _TAGS[node.table]
    opening = f"{tag}{_attributes(node, refs)}"
    if node.table == "messages":
        yield f"{indent}<{opening}>{escape(_text(node.row.get('content')))}</{tag}>"
        return
    yield f"{indent}<{opening}>"
    for column, value in node.row.items():
        if value is not None and not _is_structure(node, column):
            yield f"{indent}  {_field(column, value)}"
    for child in node.children:
        yield from _element(child, refs, depth + 1)
    yield f"{indent}</{tag}>"


def _attributes(node: Node, refs: dict[str, dict[Any, str]]) -> str:
    attributes = {"ref": node.ref}
    if node.table == "messages" and node.row.get("role") is not None:
        attributes["role"] = _text(node.row["role"])
    campaign = refs.get("campaigns", {}).get(node.row.get("campaign_id")) if node.table == "leads" else None
    if campaign is not None:
        attributes["campaign"] = campaign
    if node.row.get(_TIME) is not None:
        attributes["at"] = _text(node.row[_TIME])
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())


def _is_structure(node: Node, column: str) -> bool:
    """Whether the tree itself tells this column."""
    return (
        column in ("id", _TIME)
        or (column.endswith("_id") and column in _KEYS)
        or (node.table in PARENTS and column == PARENTS[node.table][0])
    )


_KEYS: Final = frozenset({"client_id", "campaign_id", "lead_id", "conversation_id"})


def _field(column: str, value: Any) -> str:
    if is_identifier(column):
        return f"<{column}>{escape(_text(value))}</{column}>"
    return f'<field name="{escape(_text(column))}">{escape(_text(value))}</field>'


def _text(value: Any) -> str:
    if isinstance(value, (str, Decimal)):
        return str(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def escape(text: str) -> str:
    """The text as XML character data: NFC, `\\n` line ends, nothing invisible or illegal, `& < > "` as entities."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    if not text.isascii() or not text.isprintable():
        text = "".join(map(_visible, text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _visible(character: str) -> str:
    """The character; nothing for format characters (bidi, zero width, tags); U+FFFD for what XML 1.0 forbids."""
    if character in "\n\t":
        return character
    match unicodedata.category(character):
        case "Cf":
            return ""
        case "Cc" | "Cs":
            return "\N{REPLACEMENT CHARACTER}"
        case "Cn" if ord(character) & 0xFFFE == 0xFFFE:
            return "\N{REPLACEMENT CHARACTER}"
        case _:
            return character

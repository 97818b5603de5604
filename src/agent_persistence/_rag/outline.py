"""The rows of a context as a tree: clients hold campaigns and leads, leads conversations, conversations messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent_persistence.records import Row

PREFIXES: Final = {"clients": "c", "campaigns": "p", "leads": "l", "conversations": "v", "messages": "m"}
PARENTS: Final = {
    "campaigns": ("client_id", "clients"),
    "leads": ("client_id", "clients"),
    "conversations": ("lead_id", "leads"),
    "messages": ("conversation_id", "conversations"),
}
_CHRONOLOGICAL: Final = frozenset({"conversations", "messages"})


@dataclass(frozen=True, slots=True)
class Node:
    """One row with its short reference, and the rows that belong to it."""

    ref: str
    table: str
    row: Row
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the order of the prompt."""
        yield self
        for child in self.children:
            yield from child.walk()


def outline(rows: Mapping[str, Sequence[Row]]) -> list[Node]:
    """The trees of the context, numbered table by table.

    Clients, campaigns and leads keep their order; conversations and messages are told in the order of time. A row
    whose parent is not in the context is a root.
    """
    nodes: dict[str, dict[Any, Node]] = {}
    roots: list[Node] = []
    for table, prefix in PREFIXES.items():
        told = sorted(rows[table], key=_time) if table in _CHRONOLOGICAL else rows[table]
        by_key = nodes[table] = {}
        for number, row in enumerate(told, 1):
            node = Node(f"{prefix}{number}", table, row)
            by_key.setdefault(_hashable(row.get("id")), node)
            _siblings(nodes, node, roots).append(node)
    return roots


def _siblings(nodes: Mapping[str, Mapping[Any, Node]], node: Node, roots: list[Node]) -> list[Node]:
    if node.table not in PARENTS:
        return roots
    column, table = PARENTS[node.table]
    parent = nodes[table].get(_hashable(node.row.get(column)))
    return roots if parent is None or node.row.get(column) is None else parent.children


def _time(row: Row) -> tuple[str, int, str]:
    """Oldest first, then by key; numeric keys by number."""
    key = row.get("id")
    return str(row.get("created_at") or ""), key if isinstance(key, int) else 0, str(key)


def _hashable(key: Any) -> Any:
    return key if isinstance(key, (str, int)) else str(key)

"""What a policy lets an operation be called on. Pure."""

from __future__ import annotations

from agent_persistence.operations import Operation
from agent_persistence.policy.tables import TablePolicy


class Allowed:
    """Called with an operation: the tables, or the functions, that the policy lets it have."""

    __slots__ = ("_by_right", "_readable")

    def __init__(self, policy: TablePolicy) -> None:
        self._by_right: dict[str, frozenset[str]] = {
            right: getattr(policy, right) for right in ("read", "write", "delete", "call", "call_write")
        }
        self._readable = policy.read

    def __call__(self, operation: Operation) -> frozenset[str]:
        listed = self._by_right[operation.right]
        if operation.writes and operation.filter is not None:
            return listed & self._readable  # whose rows are affected shows what they hold
        return listed

"""How an extra is installed: the one place that says where this package comes from, for it is on no index yet."""

from __future__ import annotations


def command_for(extra: str) -> str:
    """The command that brings an extra, as a part of an error's sentence."""
    return f"pip install '.[{extra}]' in a checkout of agent_persistence"

"""What doctor expects of a server, and what it has seen of the tables so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_persistence.cli.doctor.probing import ProbeResult
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.registry import Schema


@dataclass(frozen=True)
class ExpectedRights:
    """What the policy and the schema say that the server should let the role do."""

    policy: TablePolicy
    schema: Schema
    role: str
    described: Schema | None
    """The tables as the server describes them; None where it does not."""
    probes_writes: bool
    sees_catalogues: bool
    """Whether the rights to write are read elsewhere."""
    readings: dict[str, ProbeResult] = field(default_factory=dict)
    """What reading each table has shown, once it was tried."""

    def tables(self) -> list[str]:
        """The tables that the policy names."""
        return sorted(self.policy.read | self.policy.write | self.policy.delete)

    def readable(self, table: str) -> list[str]:
        """The declared columns that the policy lets be read; none where all are, of a table that is not declared."""
        allowed = self.policy.readable(table)
        if allowed is not None:
            return sorted(allowed)
        return list(self.schema.columns(table))

"""What is reported, in the forms it is reported in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Violation:
    """One place where a rule is broken; line and column count from 1."""

    path: str
    line: int
    column: int
    rule: str
    message: str

    def text(self) -> str:
        return printable(f"{self.path}:{self.line}:{self.column}: {self.rule} {self.message}")

    def github(self) -> str:
        """A workflow command; see GitHub's "Workflow commands", whose toolkit escapes in this way."""
        place = f"file={_property(self.path)},line={self.line},col={self.column},title={self.rule}"
        return f"::error {place}::{_data(self.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def printable(text: str) -> str:
    """One line, whatever a file's name holds."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

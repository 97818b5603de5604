"""What the in-memory adapter raises before it knows the table: a SQLSTATE, or that Python cannot know."""

from __future__ import annotations


class NotOfTypeError(ValueError):
    """PostgreSQL refuses the value as one of the type; `code` is its SQLSTATE."""

    def __init__(self, code: str, type_name: str) -> None:
        problem = "out of range for" if code in ("22003", "22008", "22009") else "not valid input for"
        super().__init__(f"the value is {problem} type {type_name} ({code})")
        self.code = code


class NoSuchOperatorError(ValueError):
    """PostgreSQL has no such operator for the column's type; `code` is its SQLSTATE."""

    def __init__(self, code: str, operator: str, column: str) -> None:
        super().__init__(f"{column} has a type without the operator {operator!r} ({code})")
        self.code = code


class TwinCannotTellError(ValueError):
    """What PostgreSQL makes of this, plain Python cannot follow honestly."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the in-memory adapter does not follow PostgreSQL in {what}")

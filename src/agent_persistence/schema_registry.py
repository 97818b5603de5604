"""Declared tables."""

from agent_persistence.schema.registry import (
    Column as Column,
    ForeignKey as ForeignKey,
    Generated as Generated,
    Schema as Schema,
    Table as Table,
    default_schema as default_schema,
)

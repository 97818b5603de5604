"""Contexts of any tables: what they may be, what is read for them, and what their prompts are."""

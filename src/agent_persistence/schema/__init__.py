"""Declared tables: where a schema comes from, how it is written down, and the keys that are made for its rows."""

"""Keeps writes while the database cannot be reached, and applies them when it is back; see `spool`."""

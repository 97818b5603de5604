"""Retrieval by meaning and by words."""

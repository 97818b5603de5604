"""Connections: pools, admission, and the HTTP clients that move bytes."""

"""Faults on the way to the database: a proxy that injects them, a backend that counts, a judge, and the cases."""

"""Tests of the context builder."""

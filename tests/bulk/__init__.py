"""Tests of bulk_import."""

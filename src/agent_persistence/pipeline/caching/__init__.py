"""Answers of reads that are kept, and forgotten when a write may have changed them."""

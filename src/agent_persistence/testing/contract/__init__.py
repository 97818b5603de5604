"""The laws that every adapter keeps, by what they are about."""

"""A failed attempt: whether another may follow, and what became of a write whose answer was lost."""

"""Which tables make a context, and how they hang together: said by hand, in a file, or drafted from a schema."""

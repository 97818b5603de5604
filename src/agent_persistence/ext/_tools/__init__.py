"""Tools for a language model over a read-only façade, the same for every framework that has tools."""

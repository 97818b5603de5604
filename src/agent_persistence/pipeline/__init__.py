"""The layers of the chain, one concern a file."""

"""Tables of applications that this package knows of. Nothing else in it names a table."""

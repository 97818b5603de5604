"""A store in this process that follows PostgreSQL where the schema declares a table."""

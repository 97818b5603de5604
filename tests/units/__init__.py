"""Units of work: several writes that are applied together, once."""

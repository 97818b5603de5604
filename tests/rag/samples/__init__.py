"""Tables that others designed: a shop, a bug tracker and a music store as many databases know them, with few rows."""

"""What callers hold: the verbs, the views of a service for one user, the read-only façade, typed tables."""

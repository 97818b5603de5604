"""What a policy forbids is refused before anything else looks at it."""

"""What is imported by who needs it, and by nothing else of this package: one module for each outside world."""

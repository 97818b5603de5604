"""Event loops, forks, background work and secrets in memory: what the rest needs of the process it runs in."""

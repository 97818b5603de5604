"""The tables that the integrations keep their rows in. Nothing here imports a framework."""

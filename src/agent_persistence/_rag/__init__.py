"""The parts of the context builder that touch nothing: plan, outline, rendering."""

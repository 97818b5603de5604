"""The parts of the context builder. All but `reading` touch nothing: plan, scoring, packing, tokens, rendering."""

"""How a page is written: the formats of a prompt, and what all of them share."""

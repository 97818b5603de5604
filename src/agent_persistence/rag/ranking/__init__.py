"""How well records match a question: its words and days, and what a retriever says of the records."""

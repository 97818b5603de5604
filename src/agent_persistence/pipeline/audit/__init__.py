"""What was done, by whom, with what outcome: events, the hooks that get them, the signed log and its verification."""

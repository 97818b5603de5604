"""PostgreSQL itself: one transaction a call, under a role and claims."""

"""A PostgreSQL of this machine's own, from a wheel: started by its first user, stopped behind its last one."""

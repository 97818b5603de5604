"""What `audit_log` is made of: the form of lines and checkpoints, the lock, the verification."""

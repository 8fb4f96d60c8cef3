"""What was called: the audit trail, stored answers of retried calls, and parked rests of large answers."""

"""The dispatcher: every call, whatever its door, passes the same guards."""

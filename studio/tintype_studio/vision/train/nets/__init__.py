"""Networks of our own; importing one loads torch."""

"""Money: whole credits in an append-only ledger."""

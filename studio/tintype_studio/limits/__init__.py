"""How much a key may do: calls in a sliding hour, and calls at a time."""

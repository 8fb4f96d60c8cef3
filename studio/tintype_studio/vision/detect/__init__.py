"""Finding objects by the name of their class: one protocol, several engines, tried in a stated order."""

"""Floor 2: the contract. Tool specifications, the registry and its renderings; knows no transport."""

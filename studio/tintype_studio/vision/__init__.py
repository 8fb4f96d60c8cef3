"""Vision engines behind small protocols. Importing this package loads no engine and no heavy library."""

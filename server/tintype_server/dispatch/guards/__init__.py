"""One guard per file; their order stands in ``tintype_server.dispatch.dispatcher``."""

"""One tool per file: the file's name is the tool's, and it defines ``TOOL``."""

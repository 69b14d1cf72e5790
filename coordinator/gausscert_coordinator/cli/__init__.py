"""The command line: one verb per file; only `render` prints."""

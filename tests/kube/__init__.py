"""The fake API server, compared with what the real one does."""

"""How fast ksd-ddns is, always measured against something else that does the same work in the same run."""

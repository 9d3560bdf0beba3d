"""The DNS primary, over the wire: queries, transfers and updates, signed and verified."""

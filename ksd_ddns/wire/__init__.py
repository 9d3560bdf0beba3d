"""DNS as bytes: names, RRsets, messages, transfers, presentation format. Pure: no I/O."""

"""Settings: environment variables and flags, parsed once."""

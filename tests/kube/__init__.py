"""Tests of the fake API server: it behaves as the real one."""

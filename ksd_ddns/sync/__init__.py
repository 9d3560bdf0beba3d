"""The drivers of the reconciler: one pass for `plan` and `apply`, and the controllers of `run`."""

from ksd_ddns.sync.controller import Controller, Options
from ksd_ddns.sync.supervisor import Source, Supervisor

__all__ = ["Controller", "Options", "Source", "Supervisor"]

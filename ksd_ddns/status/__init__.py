"""Health, readiness, metrics and the status page over HTTP, all from what the controller knows."""

from ksd_ddns.status.metrics import Process
from ksd_ddns.status.server import StatusServer

__all__ = ["Process", "StatusServer"]

# SPDX-License-Identifier: Apache-2.0
"""Health, readiness, metrics and the status page over HTTP, all from the snapshots of the controllers."""

from ksd_ddns.status.about import About
from ksd_ddns.status.metrics import Process
from ksd_ddns.status.server import StatusServer

__all__ = ["About", "Process", "StatusServer"]

# SPDX-License-Identifier: Apache-2.0
"""The reconciler of one zone: events in, actions out, no I/O."""

from ksd_ddns.zone.reconciler.reconciler import Reconciler
from ksd_ddns.zone.reconciler.state import Options

__all__ = ["Options", "Reconciler"]

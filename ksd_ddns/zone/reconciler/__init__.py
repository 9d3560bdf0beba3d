"""One zone is reconciled here: events in, actions out, no I/O."""

from ksd_ddns.zone.reconciler.reconciler import Options, Reconciler

__all__ = ["Options", "Reconciler"]

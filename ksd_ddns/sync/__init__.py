# SPDX-License-Identifier: Apache-2.0
"""Drivers of the reconciler: one pass for `plan` and `apply`, controllers for `run`."""

from ksd_ddns.sync.controller import Controller, Options
from ksd_ddns.sync.supervisor import Source, Supervisor

__all__ = ["Controller", "Options", "Source", "Supervisor"]

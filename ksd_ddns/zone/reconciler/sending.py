# SPDX-License-Identifier: Apache-2.0
"""The Send in progress, until UpdateFinished."""

from ksd_ddns.errors import PrimaryError
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.answer import Result
from ksd_ddns.zone.plan import Change
from ksd_ddns.zone.reconciler.refusals import Refusal


class Sending:
    """One Send: its results so far, why messages were `lost`, the refused names that it retries, and its canary.

    `split` are the names with two messages each. `halfway` holds their nodes after the first message, until that is
    accepted.
    """

    def __init__(self) -> None:
        self.results: set[Result] = set()
        self.lost: PrimaryError | None = None
        self.retried: dict[bytes, Refusal] = {}
        self.canary: Change | None = None
        self.halfway: dict[bytes, Node] = {}
        self.split: set[bytes] = set()

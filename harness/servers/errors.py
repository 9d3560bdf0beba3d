# SPDX-License-Identifier: Apache-2.0
"""Errors of the servers."""


class NotServing(AssertionError):
    """The server did not come up, or a command against it failed."""


class PortTaken(NotServing):
    """Another process uses the port."""

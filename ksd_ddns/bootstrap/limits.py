# SPDX-License-Identifier: Apache-2.0
"""Limits that both servers share, and the wildcard addresses."""

# Responses per second to the same query from the same network. With a TTL of a minute, resolvers need one per second.
# The limit is far higher, because a resolver with many clients queries many names that do not exist. Responses beyond
# the limit are truncated, not dropped (slip 1), so a resolver retries over TCP.
ANSWERS_PER_SECOND = 1000

# Threads. With one per core, a server on a 64-core node would exceed the memory limit of its container.
WORKERS = 2

ALL_V4 = "0.0.0.0"  # noqa: S104 only compared and written to a configuration
ALL = "::"

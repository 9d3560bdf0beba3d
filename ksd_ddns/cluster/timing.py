# SPDX-License-Identifier: Apache-2.0
"""How long the client of the API server waits. All durations are in seconds."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Durations of leader election; request < lead_for < duration.

    A Lease expires `duration` after its last renewal. The leader renews it every `renew_every`, and stops leading
    `lead_for` after it sent its last successful renewal. `request` is the total deadline for one attempt to read and
    write the Lease.
    """

    duration: float = 15.0
    lead_for: float = 10.0
    renew_every: float = 2.0
    request: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTiming:
    """Durations of list and watch, and the size of a page of a list.

    The server closes a watch after `lasts`; a watch is dead when nothing arrives for `silence` (a server sends a
    bookmark about once a minute). A watch that ends within `at_least` failed. One that broke after `steady` does not
    count as another failure in a row. Retries wait from `first_pause`, doubling, up to `longest_pause`.
    """

    page: int = 500
    lasts: int = 300
    silence: float = 75.0
    at_least: float = 1.0
    steady: float = 10.0
    first_pause: float = 0.5
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTiming:
    """Durations of single requests.

    `connect` and `read` are timeouts for the connection and for each read. A Retry-After is honored up to
    `longest_retry_after`. A permission counts as missing when the server refuses for `forbidden_for`: a server that
    starts refuses everything until RBAC is loaded. Refusals more than `forbidden_gap` apart are unrelated. A refused
    credential is replaced at most every `renew_every`, because a plugin may run for it.
    """

    connect: float = 5.0
    read: float = 30.0
    longest_retry_after: float = 60.0
    forbidden_for: float = 30.0
    forbidden_gap: float = 60.0
    renew_every: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All durations of this package."""

    api: ApiTiming = field(default_factory=ApiTiming)
    watch: WatchTiming = field(default_factory=WatchTiming)
    lease: LeaseTiming = field(default_factory=LeaseTiming)
    events_per_second: float = 10.0

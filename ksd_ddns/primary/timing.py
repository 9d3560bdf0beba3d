# SPDX-License-Identifier: Apache-2.0
"""How long a session avoids what failed: a server, or IXFR. All durations are in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations after a failure.

    A failed server is retried after `back_after`, with a connect timeout of at most `back_timeout` while another
    server works. After IXFR failed, AXFR is used for `ixfr_pause`, doubling up to `longest_ixfr_pause`.
    """

    back_after: float = 60.0
    back_timeout: float = 1.0
    ixfr_pause: float = 30.0
    longest_ixfr_pause: float = 600.0

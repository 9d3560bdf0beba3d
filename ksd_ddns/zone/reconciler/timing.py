# SPDX-License-Identifier: Apache-2.0
"""Timing of a zone: pauses between attempts, and the rate limit."""

import msgspec


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds, and the burst of the rate limiter.

    Pauses between attempts at a primary that does not answer grow from `first_pause` to `longest_pause`; those between
    samples of refused names from `first_retry` to `longest_retry`. A VMI may change `burst` times a minute, then once
    every `slowed`. A source that recovers reports all missed changes within `catch_up`.
    """

    first_pause: float = 0.25
    longest_pause: float = 30.0
    first_retry: float = 5.0
    longest_retry: float = 600.0
    burst: int = 10
    slowed: float = 10.0
    catch_up: float = 5.0


TIMING = Timing()

"""How long the reconciler of a zone waits between attempts."""

import msgspec


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds, and the burst of the rate limiter.

    Attempts at a primary that does not answer wait from `first_pause` up to `longest_pause`, samples of refused names
    from `first_retry` up to `longest_retry`. A VMI may change `burst` times a minute, then once every `slowed`. A
    source that recovers has reported all it missed within `catch_up`.
    """

    first_pause: float = 0.25
    longest_pause: float = 30.0
    first_retry: float = 5.0
    longest_retry: float = 600.0
    burst: int = 10
    slowed: float = 10.0
    catch_up: float = 5.0


TIMING = Timing()

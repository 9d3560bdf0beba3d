# SPDX-License-Identifier: Apache-2.0
"""What the page says about the process: version, owner ID, leader."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The process. `leader` is the leader of the replicas, empty if it is unknown or there is only one.

    `standby`: this process waits to become the leader. `owner` is the owner ID, empty while it is unknown. `base` is
    the name below which names are published. `started` is by the monotonic clock, `choice` are the settings that select
    VMIs, each with its value.
    """

    owner: str = ""
    leader: str = ""
    standby: bool = False
    base: str = ""
    choice: tuple[tuple[str, str], ...] = ()
    started: float = field(default_factory=time.monotonic)

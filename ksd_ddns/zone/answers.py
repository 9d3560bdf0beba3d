# SPDX-License-Identifier: Apache-2.0
"""What the primary answers about some names, if the zone is read by queries."""

import msgspec

from ksd_ddns.wire.rrset import Node


class Answers(msgspec.Struct, frozen=True):
    """The nodes at `names` as of `serial`: a name that is not in `nodes` does not exist.

    `cuts` are the delegations and DNAMEs among them. With `full`, the index was read in full, and `names` includes
    every name in it. About the `unreadable` names the server gave no usable answer.
    """

    serial: int
    names: set[bytes]
    nodes: dict[bytes, Node]
    cuts: set[bytes]
    full: bool
    unreadable: frozenset[bytes] | set[bytes] = frozenset()

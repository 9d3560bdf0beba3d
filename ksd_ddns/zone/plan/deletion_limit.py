# SPDX-License-Identifier: Apache-2.0
"""The deletion limit: deletions that follow only from absence in a list, and are too many to be believed."""

from collections import Counter
from collections.abc import Mapping

from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan.change import Blocked, Change
from ksd_ddns.zone.plan.ownership import is_owned, namespace_of
from ksd_ddns.zone.plan.scope import Scope

LIMIT_FLOOR = 10
"""The deletion limit does not apply below this number of owned names: a percentage of few names means nothing."""


def over_limit(
    absent: list[Change], owned: int, desired: Desired, live: Live, scope: Scope, *, percent: int
) -> tuple[list[Change], tuple[Blocked, ...]]:
    """Return which of the deletions `absent` are over the limit, and over which limits.

    Namespaces are checked one by one first, so that a mass deletion in one blocks no other. What remains is checked
    together, so that many small namespaces that vanish together are noticed.
    """
    namespaces = [namespace_of(change.old, scope) for change in absent]
    gone = Counter(namespaces)
    # So few deletions are never over the limit: if no namespace has more, there is no need to count owned names.
    few = percent * LIMIT_FLOOR // 100
    if all(count <= few for count in gone.values()):
        have: Mapping[str, int] = {}
    else:
        have = _owned_by_namespace(desired, live, scope)
    blocked = {
        namespace: Blocked(namespace, count, have[namespace])
        for namespace, count in sorted(gone.items())
        if count > few and _exceeds(count, have[namespace], percent)
    }
    rest = owned - sum(each.owned for each in blocked.values())
    left = len(absent) - sum(each.count for each in blocked.values())
    if _exceeds(left, rest, percent):
        return absent, (*blocked.values(), Blocked(None, left, rest))
    over = [change for change, namespace in zip(absent, namespaces, strict=True) if namespace in blocked]
    return over, tuple(blocked.values())


def _exceeds(count: int, owned: int, percent: int) -> bool:
    return owned >= LIMIT_FLOOR and 100 * count > percent * owned


def _owned_by_namespace(desired: Desired, live: Live, scope: Scope) -> Counter[str]:
    have: Counter[str] = Counter()
    for name, found in live.nodes.items():
        if desired.get(name) == found:
            if name not in scope.protected:
                have[namespace_of(found, scope)] += 1
        elif is_owned(found, live, scope):
            have[namespace_of(found, scope)] += 1
    return have

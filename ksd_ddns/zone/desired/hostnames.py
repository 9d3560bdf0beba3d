# SPDX-License-Identifier: Apache-2.0
"""Text -> owner name: namespaces, and the hostnames of the annotation `ksd-ddns/hostname`."""

from functools import lru_cache

from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.wire import names
from ksd_ddns.zone.desired.rules import HostnameScope, Rules, is_reserved

_WILDCARD = b"\1*"


@lru_cache(maxsize=4096)
def namespace_domain(namespace: str, base: bytes) -> bytes | None:
    """Return `<namespace>.<base>`, or None if it cannot be a DNS name."""
    label = names.legal_label(namespace)
    return label + base if label else None


def relative_name(text: str) -> bytes | None:
    """Return the labels of a dotted name, without the root, or None if it cannot be a DNS name."""
    if "." not in text:
        return names.legal_label(text)
    found = [names.legal_label(label) for label in text.split(".")]
    return b"".join(label for label in found if label) if all(found) else None


def hostname_name(hostname: str, domain: bytes, rules: Rules) -> bytes | None:
    """Return the owner name that the annotation asks for, or None if it is not allowed.

    A name may begin with a label `*`, for a wildcard. One without a final dot is relative to `domain`, the domain of
    the VMI's namespace. A VMI cannot take a name outside that domain, unless HOSTNAME_SCOPE=zone allows it.
    """
    absolute = hostname.endswith(".")
    relative = _hostname(hostname)
    if relative is None:
        return None
    if not absolute:
        return relative + domain if len(relative) + len(domain) <= names.MAX_NAME else None
    name = relative + names.ROOT
    if len(name) > names.MAX_NAME or not names.is_below(name, rules.zone) or is_reserved(name, rules):
        return None
    if rules.hostname_scope is HostnameScope.ZONE or (names.is_below(name, domain) and name != domain):
        return name
    return None


def _hostname(text: str) -> bytes | None:
    """Return the labels of a hostname, without the root; only its first label may be an asterisk (RFC 4592)."""
    relative = text.removesuffix(".")
    if relative == "*":
        return _WILDCARD
    if not relative.startswith("*."):
        return relative_name(relative)
    below = relative_name(relative[2:])
    return _WILDCARD + below if below else None


def hostname_problem(hostname: str, rules: Rules) -> WarningCode:
    """Return why `hostname_name` allows no name."""
    relative = _hostname(hostname)
    if relative is None:
        return WarningCode.ILLEGAL_HOSTNAME
    if hostname.endswith(".") and rules.hostname_scope is HostnameScope.NAMESPACE:
        return WarningCode.FOREIGN_HOSTNAME
    if is_reserved(relative + names.ROOT, rules):
        return WarningCode.RESERVED_HOSTNAME
    return WarningCode.OUTSIDE_HOSTNAME

# SPDX-License-Identifier: Apache-2.0
"""The krb5.conf of a client of one realm, whose KDC is on a loopback port."""

_CONFIG = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
"""
_DOMAIN = """\
[domain_realm]
    .{domain} = {realm}
    {domain} = {realm}
"""


def config(realm: str, port: int, *, domain: str = "") -> str:
    """Return the file for a KDC on `port`; hosts in `domain` are in the realm."""
    text = _CONFIG.format(realm=realm, port=port)
    return text + _DOMAIN.format(realm=realm, domain=domain) if domain else text

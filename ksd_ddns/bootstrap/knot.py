# SPDX-License-Identifier: Apache-2.0
"""The knot.conf of a bundled Knot DNS."""

import socket

from ksd_ddns.bootstrap import purpose
from ksd_ddns.bootstrap.bundled import BundledPrimary
from ksd_ddns.bootstrap.limits import ALL, ALL_V4, ANSWERS_PER_SECOND, WORKERS
from ksd_ddns.primary.keys import Key, secret_of

KEY_FILE = "knot-key.conf"


def configuration(primary: BundledPrimary, *, key_name: str) -> str:
    """Return the knot.conf of `primary` (Knot DNS 3.2 and later)."""
    addresses = [primary.address]
    if primary.address == ALL:
        # Unlike BIND, Knot exits if it cannot listen, as on IPv6 with a kernel booted with ipv6.disable=1.
        addresses = [ALL_V4, ALL] if _kernel_has_ipv6() else [ALL_V4]
    listen = "".join(f"\n    listen: {address}@{primary.port}" for address in addresses)
    return f"""\
# Written once by ksd-ddns bootstrap. Edit it freely, or delete it to have it written again.
# {purpose.line(primary)}
include: "{primary.directory / KEY_FILE}"

server:{listen}
    rundir: "{primary.directory}"
    identity: ""
    version: ""
    nsid: ""
    udp-workers: {WORKERS}
    tcp-workers: {2 * WORKERS}
    background-workers: {WORKERS}
    # The default of 10 s would close the controller's connection between two polls of the serial.
    tcp-idle-timeout: 60
    # Milliseconds. With the default of 500, Knot closes the connection if the client pauses in a long transfer.
    tcp-io-timeout: 3000

log:
  - target: stderr
    any: info

database:
    storage: "{primary.directory}"
    # Answer an update only after it is on the disk.
    journal-db-mode: robust
    journal-db-max-size: 1G

acl:
  - id: read
    key: {key_name}
    action: [query, transfer]
  # One rule for all types: a message must match a single rule, and it may have the NS of the apex, too.
  - id: update
    key: {key_name}
    action: update
    update-type: [A, AAAA, SRV, TXT, NS]
  - id: update-pointers
    key: {key_name}
    action: update
    update-type: [PTR, TXT]

# Per network and query, since Knot 3.4 per address. Responses beyond the limit are truncated (slip 1), so resolvers
# retry over TCP.
mod-rrl:
  - id: default
    rate-limit: {ANSWERS_PER_SECOND}
    slip: 1
    whitelist: [127.0.0.0/8, ::1]

template:
  - id: default
    global-module: mod-rrl/default

zone:
{"".join(_zone(primary, zone) for zone in primary.zones)}"""


def _zone(primary: BundledPrimary, zone: str) -> str:
    return f"""\
  - domain: {zone}
    storage: "{primary.directory}"
    file: "{primary.zone_file(zone).name}"
    acl: [read, {"update" if zone == primary.base else "update-pointers"}]
    serial-policy: increment
    # At startup, load the zone file and then the journal, so that no acknowledged change is lost.
    zonefile-load: whole
    journal-content: changes
    zonefile-sync: 15m
    journal-max-depth: 10000
    # Per zone, so that all zones fit into a directory of 256 MB.
    journal-max-usage: 32M
"""


def _kernel_has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def key_clause(key: Key) -> str:
    """Return `key` as Knot reads it."""
    return f"key:\n  - id: {key.name}\n    algorithm: {key.algorithm}\n    secret: {secret_of(key)}\n"

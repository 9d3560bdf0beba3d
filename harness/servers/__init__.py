# SPDX-License-Identifier: Apache-2.0
"""Real DNS primaries for the tests: named, knotd, pdns_server and yadifad on free loopback ports.

    with Bind() as primary:                                   # the bundled primary of zone vm., as bootstrap writes it
    with Bind(zones={"example.": "www A 192.0.2.1"}) as primary:          # a company's primary, key grants everything
    with Bind(zones={...}, zone_options='update-policy { ... };', options="check-names primary fail;") as primary:
    with Knot(base="vm.example.", name_server_ips=("192.0.2.53",)) as primary:
    with PowerDns(zones={"example.": ""}) as primary:         # SQLite behind it; key may transfer and update everything

A server is up when the `with` block starts: its zones answer. Server and directory are removed when the block ends, and
also when the tests are killed. `log()` is what the server wrote to stderr.

Zone text gets a `$ORIGIN`, a `$TTL 60` and, unless it has them, an SOA and `NS localhost.`.
`python -m harness.servers bind9` serves a bundled primary until Ctrl-C.
"""

from harness.servers.bind import Bind, Secondary
from harness.servers.client import Record
from harness.servers.errors import NotServing
from harness.servers.key import Key
from harness.servers.knot import Knot
from harness.servers.port import Port
from harness.servers.powerdns import PowerDns
from harness.servers.programs import PATH, Answer, program, server_program
from harness.servers.samba import Samba
from harness.servers.scratch import scratch
from harness.servers.server import Server, stop_all
from harness.servers.yadifa import Yadifa

__all__ = [
    "PATH",
    "Answer",
    "Bind",
    "Key",
    "Knot",
    "NotServing",
    "Port",
    "PowerDns",
    "Record",
    "Samba",
    "Secondary",
    "Server",
    "Yadifa",
    "program",
    "scratch",
    "server_program",
    "stop_all",
]

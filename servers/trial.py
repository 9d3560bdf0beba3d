# SPDX-License-Identifier: Apache-2.0
"""A running server for the script, in the shapes that the steps need."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from harness.kerberos import Realm
from harness.servers import Answer, Bind, Knot, PowerDns, Samba, Server, Yadifa, scratch
from harness.servers.samba import HOST, ZONE
from ksd_ddns.primary import gss, keys
from ksd_ddns.primary.keys import KeySource

EXAMPLE = "example."
SERVICE_HOST = "ns.example.test"
ALLOWED = "prod"
"""The namespace whose names may be updated in the shape LIMITED."""


class Shape(Enum):
    """How the server is configured."""

    PLAIN = auto()
    """The key may transfer and update everything."""
    LIMITED = auto()
    """The key may update only names below the namespace ALLOWED."""
    NOTIFYING = auto()
    """It sends NOTIFY to `Trial.notify_port`."""
    KERBEROS = auto()
    """It takes only keys that are negotiated with Kerberos."""
    BUNDLED = auto()
    """As bootstrap configures it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A running server, and how to reach it as ksd-ddns, and as another client (`update`, an nsupdate script)."""

    server: Server
    zone: str
    base: str
    settings: Mapping[str, str]
    key: Callable[[], KeySource]
    update: Callable[[str], Answer]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A server that can be tested, in some shapes; `open` returns it running, and takes the port for NOTIFY.

    With `negotiates` it is reached with GSS-TSIG in all shapes.
    """

    kind: str
    shapes: frozenset[Shape]
    open: Callable[[Shape, int], AbstractContextManager[Trial]]
    negotiates: bool = False


@contextlib.contextmanager
def _signed(server: Server, *, base: str = f"vm.{EXAMPLE}", zone: str = EXAMPLE) -> Iterator[Trial]:
    with server:
        yield Trial(
            server=server,
            zone=zone,
            base=base,
            settings={
                "DNS_SERVER": f"{server.address}:{server.port}",
                "DOMAIN": "" if base == zone else zone,
                "TSIG_KEY_FILE": str(server.key_file),
            },
            key=lambda: keys.read_key_file(server.key_file),
            update=lambda script: server.nsupdate(script, check=False),
        )


@contextlib.contextmanager
def _bind(shape: Shape, port: int) -> Iterator[Trial]:
    zones = {EXAMPLE: ""}
    transfer = 'allow-transfer { key "ksd-ddns."; };'
    match shape:
        case Shape.PLAIN:
            server = Bind(zones=zones)
        case Shape.LIMITED:
            grant = f'grant "ksd-ddns." subdomain {ALLOWED}.vm.{EXAMPLE} A AAAA TXT;'
            server = Bind(zones=zones, zone_options=f"{transfer} update-policy {{ {grant} }};")
        case Shape.NOTIFYING:
            notify = f'notify explicit; notify-delay 0; also-notify {{ 127.0.0.1 port {port} key "ksd-ddns."; }};'
            policy = 'update-policy { grant "ksd-ddns." zonesub ANY; };'
            server = Bind(zones=zones, zone_options=f"{transfer} {policy} {notify}")
        case Shape.BUNDLED:
            with _signed(Bind(), base="vm.", zone="vm.") as trial:
                yield trial
            return
        case _:
            with _kerberos() as trial:
                yield trial
            return
    with _signed(server) as trial:
        yield trial


@contextlib.contextmanager
def _kerberos() -> Iterator[Trial]:
    with Realm() as realm:
        realm.add(f"DNS/{SERVICE_HOST}", "ksd")
        policy = f'grant "ksd@{realm.name}" zonesub ANY;'
        with Bind(zones={EXAMPLE: ""}, **realm.bind(f"DNS/{SERVICE_HOST}", policy)) as server:
            environment = realm.client("ksd")
            yield _negotiating(server, EXAMPLE, SERVICE_HOST, environment, server.nsupdate)


def _negotiating(
    server: Server, zone: str, host: str, environment: Mapping[str, str], update: Callable[[str], Answer]
) -> Trial:
    return Trial(
        server=server,
        zone=zone,
        base=f"vm.{zone}",
        settings={
            "DNS_SERVER": f"{server.address}:{server.port}",
            "DOMAIN": zone,
            "GSS_TSIG": "true",
            "GSS_TSIG_HOSTNAME": host,
            **environment,
        },
        key=lambda: gss.NegotiatedKey(host),
        update=update,
        environment=environment,
    )


@contextlib.contextmanager
def _knot(shape: Shape, port: int) -> Iterator[Trial]:
    zones = {EXAMPLE: ""}
    match shape:
        case Shape.LIMITED:
            rules = (
                "  - id: read\n    key: ksd-ddns.\n    action: [query, transfer]\n"
                "  - id: write\n    key: ksd-ddns.\n    action: update\n    update-owner: name\n"
                f"    update-owner-match: sub-or-equal\n    update-owner-name: [{ALLOWED}.vm.{EXAMPLE}]\n"
            )
            server = Knot(zones=zones, extra=rules, zone_options="acl: [read, write]")
        case Shape.NOTIFYING:
            remote = f"remote:\n  - id: us\n    address: 127.0.0.1@{port}\n    key: ksd-ddns.\n"
            server = Knot(zones=zones, extra=remote, zone_options="acl: all\nnotify: us")
        case Shape.BUNDLED:
            with _signed(Knot(), base="vm.", zone="vm.") as trial:
                yield trial
            return
        case _:
            server = Knot(zones=zones)
    with _signed(server) as trial:
        yield trial


_POLICY = """\
function updatepolicy(input)
  return input:getQName():isPartOf(newDN("{name}"))
end
"""


@contextlib.contextmanager
def _powerdns(shape: Shape, port: int) -> Iterator[Trial]:
    allowed = "add-meta ZONE TSIG-ALLOW-AXFR ksd-ddns\nadd-meta ZONE TSIG-ALLOW-DNSUPDATE ksd-ddns\n"
    directory = scratch()
    script = directory / "policy.lua"
    script.write_text(_POLICY.format(name=f"{ALLOWED}.vm.{EXAMPLE}"))
    options, commands = "", allowed
    if shape is Shape.LIMITED:
        options = f"lua-dnsupdate-policy-script={script}"
    elif shape is Shape.NOTIFYING:
        options = "primary=yes\nxfr-cycle-interval=1\nonly-notify="
        commands += (
            f"set-kind ZONE primary\nset-meta ZONE ALSO-NOTIFY 127.0.0.1:{port}\nset-meta ZONE NOTIFY-DNSUPDATE 1\n"
        )
    try:
        with _signed(PowerDns(zones={EXAMPLE: ""}, options=options, zone_options=commands)) as trial:
            yield trial
    finally:
        script.unlink()
        directory.rmdir()


@contextlib.contextmanager
def _yadifa(shape: Shape, port: int) -> Iterator[Trial]:
    with _signed(Yadifa(zones={EXAMPLE: ""})) as trial:
        yield trial


def _samba(*, dlz: bool) -> Callable[[Shape, int], AbstractContextManager[Trial]]:
    @contextlib.contextmanager
    def opened(shape: Shape, port: int) -> Iterator[Trial]:
        options = "dns zone transfer clients allow = 127.0.0.1"
        with Samba(dlz=dlz, accounts=("ksd-ddns", "other"), options=options) as server:
            environment, other = server.client("ksd-ddns"), server.client("other")
            trial = _negotiating(
                server, ZONE, HOST, environment, lambda script: server.nsupdate_as(other, script, check=False)
            )
            # The internal DNS server transfers no zone.
            yield trial if dlz else replace(trial, settings={**trial.settings, "READ": "queries"})

    return opened


_ALL = frozenset(Shape)
CANDIDATES = {
    "named": [Candidate(kind="BIND", shapes=_ALL, open=_bind)],
    "knotd": [Candidate(kind="Knot", shapes=_ALL - {Shape.KERBEROS}, open=_knot)],
    "pdns_server": [Candidate(kind="PowerDNS", shapes=_ALL - {Shape.KERBEROS, Shape.BUNDLED}, open=_powerdns)],
    "yadifad": [Candidate(kind="YADIFA", shapes=frozenset({Shape.PLAIN}), open=_yadifa)],
    "samba": [
        Candidate(
            kind="Samba internal DNS (READ=queries)",
            shapes=frozenset({Shape.PLAIN, Shape.LIMITED}),
            open=_samba(dlz=False),
            negotiates=True,
        ),
        Candidate(
            kind="Samba BIND9_DLZ",
            shapes=frozenset({Shape.PLAIN, Shape.LIMITED}),
            open=_samba(dlz=True),
            negotiates=True,
        ),
    ],
}
"""The servers of each program."""


def in_environment(trial: Trial) -> None:
    """Let this process use the Kerberos settings of `trial`."""
    os.environ.update(trial.environment)

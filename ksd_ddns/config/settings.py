# SPDX-License-Identifier: Apache-2.0
"""The settings: each with its environment variable, flag, default, range and description.

The field `dns_server` is the environment variable DNS_SERVER and the flag --dns-server; the flag wins.
"""

from pathlib import Path
from typing import Any

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ksd_ddns.config.fields import (
    Addresses,
    Algorithm,
    Choice,
    DefaultName,
    Duration,
    InterfaceName,
    KeyName,
    Labels,
    Listener,
    Name,
    Namespaces,
    Networks,
    OwnerId,
    OwnerIds,
    Paths,
    ReverseZones,
    ReverseZonesField,
    Texts,
    setting,
)
from ksd_ddns.kubevirt import selector, vmi
from ksd_ddns.kubevirt.networks import SECONDARY
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.primary.connection import Server
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import DEFAULT_NAME, INTERFACE_NAME, HostnameScope
from ksd_ddns.zone.plan import Ownership, Policy, Read

_NAMES = "names and addresses"
_PRIMARY = "the primary"
_KEYS = "keys"
_SAFETY = "ownership and safety"
_CONTROLLER = "the controller"


class Settings(BaseSettings):
    """The settings of ksd-ddns."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        enable_decoding=False,
        extra="ignore",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _stripped(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Cut off white space, with which mounted files and quoted variables often end; an empty value is not set."""
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
        return {name: value for name, value in stripped.items() if value != ""}

    domain: Name = setting(
        names.ROOT,
        "parent domain: names are published below vm.DOMAIN, or below vm if empty",
        group=_NAMES,
        shown="empty",
    )
    name_server_ip: Addresses = setting(
        (),
        "addresses of the name server (comma list): publish NS and ns.<base> if the base is the zone's apex",
        group=_NAMES,
        shown="empty",
    )
    record_ttl: int = setting(60, "TTL of the records in seconds", group=_NAMES, ge=1, le=86_400)
    default_record: bool = setting(
        True, "publish <vm>.<namespace>.<base> in addition to the interface names", group=_NAMES
    )
    interface_name: InterfaceName = setting(
        INTERFACE_NAME,
        "template of interface names below the base: {interface} or {network}, {vm}, {namespace}",
        group=_NAMES,
    )
    default_name: DefaultName = setting(
        DEFAULT_NAME, "template of default records below the base: {vm}, {namespace}", group=_NAMES
    )
    networks: Choice = setting(
        SECONDARY,
        "networks to publish: secondary, all, or NetworkAttachmentDefinitions (comma list)",
        group=_NAMES,
        shown="secondary",
    )
    hostname_scope: HostnameScope = setting(
        HostnameScope.NAMESPACE, "scope of the annotation ksd-ddns/hostname: off, namespace, zone", group=_NAMES
    )
    group_srv: bool = setting(
        False, "publish SRV records for the ports of groups (annotation ksd-ddns/group-ports)", group=_NAMES
    )
    max_addresses: int = setting(
        16, "maximum number of addresses per interface and address family", group=_NAMES, ge=1, le=64
    )
    max_names: int = setting(
        50, "maximum number of names per VMI: interfaces before annotations", group=_NAMES, ge=1, le=vmi.MAX_HOSTNAMES
    )
    max_names_per_namespace: int = setting(
        0,
        "maximum number of names per namespace: oldest VMIs first; 0 means unlimited",
        group=_NAMES,
        shown="0",
        ge=0,
        le=1_000_000,
    )
    max_rrset: int = setting(
        90,
        "maximum number of records of one type per name: oldest VMIs first; BIND's own limit is 100 by default",
        group=_NAMES,
        ge=1,
        le=1_000,
    )
    publish_cidrs: Networks = setting(
        (), "publish only addresses in these CIDR blocks (comma list)", group=_NAMES, shown="all"
    )
    exclude_cidrs: Networks = setting(
        (), "never publish addresses in these CIDR blocks (comma list)", group=_NAMES, shown="none"
    )
    reverse_zones: ReverseZonesField = setting(
        ReverseZones(),
        "reverse zones to publish PTR records in: names, CIDR blocks or ZONE=CIDR (comma list); auto: those on the "
        "primary that hold a published address",
        group=_NAMES,
        shown="none",
    )
    namespaces: Namespaces = setting(
        frozenset(), "publish only VMIs in these namespaces (comma list)", group=_NAMES, shown="all"
    )
    label_selector: Labels = setting(
        selector.parse(""),
        "publish only VMIs with these labels, in the syntax of kubectl -l",
        group=_NAMES,
        shown="all",
    )

    dns_server: Texts = setting(
        ("127.0.0.1",),
        "primary as host[:port], IPv6 in brackets; of several (comma list) the first that responds is used",
        group=_PRIMARY,
        shown="127.0.0.1",
        min_length=1,
    )
    dns_port: int = setting(5353, "default port of DNS_SERVER", group=_PRIMARY, ge=1, le=65_535)
    dns_timeout: Duration = setting(
        5.0, "timeout for a response from the primary", group=_PRIMARY, shown="5s", ge=0.05, le=300
    )
    zone: Name | None = setting(
        None, "zone to update", group=_PRIMARY, shown="the zone that encloses the base, found by an SOA query"
    )
    read: Read = setting(
        Read.AXFR, "how to read the zone: axfr (zone transfers), queries (if it cannot be transferred)", group=_PRIMARY
    )
    update_batch: int | None = setting(
        None,
        "maximum number of names per UPDATE message; with Samba's BIND module an account owns only the last new one",
        group=_PRIMARY,
        shown="500, with GSS_TSIG 1",
        ge=1,
        le=10_000,
    )
    update_octets: int = setting(
        60_000, "maximum size of an UPDATE message in octets", group=_PRIMARY, ge=4_096, le=65_535
    )

    dns_tls: bool = setting(False, "use TLS for updates and transfers (RFC 9103)", group=_PRIMARY)
    dns_tls_ca: Path | None = setting(
        None, "PEM file with the CA certificates for the primary", group=_PRIMARY, shown="the system's"
    )
    dns_tls_cert: Path | None = setting(None, "PEM file with the client certificate", group=_PRIMARY, shown="none")
    dns_tls_key: Path | None = setting(
        None, "PEM file with the private key of the client certificate", group=_PRIMARY, shown="in DNS_TLS_CERT"
    )
    dns_tls_hostname: str | None = setting(
        None, "host name in the primary's certificate", group=_PRIMARY, shown="the host in DNS_SERVER"
    )
    tsig_key_file: Paths = setting(
        (),
        "TSIG key file as written by tsig-keygen; one, or one per DNS_SERVER (comma list)",
        group=_KEYS,
        shown="none",
    )
    tsig_key_name: KeyName | None = setting(
        None, "name of the TSIG key, instead of a key file", group=_KEYS, shown="none"
    )
    tsig_algorithm: Algorithm = setting(
        "hmac-sha256", "algorithm of the TSIG key: hmac-sha224, -sha256, -sha384, -sha512 (or -sha1, weak)", group=_KEYS
    )
    tsig_secret: SecretStr | None = setting(None, "secret of the TSIG key in base64", group=_KEYS, shown="none")
    tsig_secret_file: Path | None = setting(
        None, "file with the secret of the TSIG key in base64", group=_KEYS, shown="none"
    )
    transfer_tsig_key_file: Paths = setting(
        (),
        "TSIG key file for zone transfers; one, or one per DNS_SERVER (comma list)",
        group=_KEYS,
        shown="the key for updates",
    )
    transfer_tsig_key_name: KeyName | None = setting(
        None, "name of the TSIG key for zone transfers", group=_KEYS, shown="the key for updates"
    )
    transfer_tsig_algorithm: Algorithm = setting("hmac-sha256", "algorithm of the transfer key", group=_KEYS)
    transfer_tsig_secret: SecretStr | None = setting(
        None, "secret of the transfer key in base64", group=_KEYS, shown="none"
    )
    transfer_tsig_secret_file: Path | None = setting(
        None, "file with the secret of the transfer key in base64", group=_KEYS, shown="none"
    )
    gss_tsig: bool = setting(
        False,
        "authenticate with GSS-TSIG (Kerberos), as for Active Directory; needs the extra gss",
        group=_KEYS,
    )
    gss_tsig_hostname: Texts = setting(
        (),
        "host name in the Kerberos principal DNS/<host>; one, or one per DNS_SERVER (comma list)",
        group=_KEYS,
        shown="the host in DNS_SERVER",
    )

    ownership: Ownership = setting(
        Ownership.TXT, "how names are owned: txt (by an ownership record), zone (all A and AAAA)", group=_SAFETY
    )
    owner_id: OwnerId | None = setting(
        None,
        "owner ID written to ownership records; several owners can share a zone",
        group=_SAFETY,
        shown="the UID of the cluster's namespace kube-system; default with --from",
    )
    policy: Policy = setting(Policy.SYNC, "sync, or upsert-only: never delete a name", group=_SAFETY)
    adopt: bool = setting(False, "take over unowned names whose addresses are exactly the wanted ones", group=_SAFETY)
    take_over_from: OwnerIds = setting(
        frozenset(),
        "take over wanted names from these owner IDs (comma list); remove it after the move",
        group=_SAFETY,
        shown="none",
    )
    max_delete_percent: int = setting(
        30, "block deletions of more than this percentage of the owned names", group=_SAFETY, ge=0, le=100
    )

    hold_down: Duration = setting(
        300.0,
        "how long to keep addresses that vanish from the status of a live VMI",
        group=_CONTROLLER,
        shown="300s",
        ge=0,
        le=86_400,
    )
    drift_interval: Duration = setting(
        30.0,
        "how often to poll the zone's serial for foreign changes",
        group=_CONTROLLER,
        shown="30s",
        ge=0.5,
        le=86_400,
    )
    full_read_interval: Duration = setting(
        3600.0,
        "how often to read the full zone, to find changes that did not change its serial",
        group=_CONTROLLER,
        shown="1h",
        ge=1,
        le=604_800,
    )
    leader_election: bool = setting(
        False, "elect one of several controllers with a Lease in the pod's namespace", group=_CONTROLLER
    )
    notify_listen: Listener | None = setting(
        None,
        "address:port to listen on for NOTIFY from the primary; if a TSIG key is set, it must be signed",
        group=_CONTROLLER,
        shown="nowhere",
    )
    notify_secondaries: Texts = setting(
        (),
        "secondaries to send NOTIFY to, as host[:port] (comma list; default port: 53); all addresses of a name",
        group=_CONTROLLER,
        shown="none",
    )
    status_address: Listener = setting(
        Server("", 8081), "address:port of health checks, metrics and the status page", group=_CONTROLLER, shown=":8081"
    )
    status_hosts: Texts = setting(
        (),
        "further host names under which the status page is requested, such as that of an Ingress (comma list)",
        group=_CONTROLLER,
        shown="none",
    )

    @property
    def base(self) -> bytes:
        """The owner name below which everything is published."""
        return _VM + self.domain

    @property
    def owner(self) -> str:
        """The owner ID; `default` if it is neither set nor read from a cluster."""
        return self.owner_id or "default"

    @property
    def selection(self) -> Selection:
        """Which VMIs are published, and which of their networks."""
        return Selection(namespaces=self.namespaces, selector=self.label_selector, networks=self.networks)


_VM = b"\2vm"


def flag_of(field: str) -> str:
    """Return the flag of a setting: `dns_server` is --dns-server."""
    return "--" + field.replace("_", "-")

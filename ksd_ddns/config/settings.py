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
    Duration,
    KeyName,
    Labels,
    Listener,
    Name,
    Namespaces,
    Networks,
    OwnerId,
    Paths,
    ReverseZones,
    Texts,
    setting,
)
from ksd_ddns.kubevirt import selector, vmi
from ksd_ddns.primary.connection import Server
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import HostnameScope
from ksd_ddns.zone.plan import Ownership, Policy

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
        """Cut off white space, which mounted files and quoted variables often end with; what is empty is not set."""
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
        return {name: value for name, value in stripped.items() if value != ""}

    domain: Name = setting(
        names.ROOT,
        "Domain below which the names stand: the base is vm.DOMAIN, or vm without it",
        group=_NAMES,
        shown="empty",
    )
    name_server_ip: Addresses = setting(
        (),
        "Address of the name server (comma list): NS and ns.<base> are kept in the zone where the base is its apex",
        group=_NAMES,
        shown="empty",
    )
    record_ttl: int = setting(60, "TTL of the records, in seconds", group=_NAMES, ge=1, le=86_400)
    default_record: bool = setting(True, "Publish <vm>.<namespace>.<base> beside the interfaces", group=_NAMES)
    hostname_scope: HostnameScope = setting(
        HostnameScope.NAMESPACE, "How far the annotation ksd-ddns/hostname reaches: off, namespace, zone", group=_NAMES
    )
    max_addresses: int = setting(
        16, "Addresses published of each address family of an interface, at most", group=_NAMES, ge=1, le=64
    )
    max_names: int = setting(
        50, "Names published of a VMI, at most: interfaces before annotations", group=_NAMES, ge=1, le=vmi.MAX_HOSTNAMES
    )
    max_names_per_namespace: int = setting(
        0,
        "Names published of a namespace, at most: the oldest VMIs keep theirs; 0 is no limit",
        group=_NAMES,
        shown="0",
        ge=0,
        le=1_000_000,
    )
    max_rrset: int = setting(
        90,
        "Records of one type at one name, at most: those of the oldest VMIs. BIND refuses more than 100 by default",
        group=_NAMES,
        ge=1,
        le=1_000,
    )
    publish_cidrs: Networks = setting(
        (), "Publish only addresses in these blocks (comma list)", group=_NAMES, shown="all"
    )
    exclude_cidrs: Networks = setting(
        (), "Never publish addresses in these blocks (comma list)", group=_NAMES, shown="none"
    )
    reverse_zones: ReverseZones = setting(
        (),
        "Where PTR records are published: reverse zones by name, or by block of addresses (comma list)",
        group=_NAMES,
        shown="nowhere",
    )
    namespaces: Namespaces = setting(
        frozenset(), "Namespaces whose VMIs are published (comma list)", group=_NAMES, shown="all"
    )
    label_selector: Labels = setting(
        selector.parse(""), "Labels of the VMIs that are published, as kubectl -l takes them", group=_NAMES, shown="all"
    )

    dns_server: Texts = setting(
        ("127.0.0.1",),
        "The primary: host[:port], IPv6 in brackets; of several (comma list) the first that answers",
        group=_PRIMARY,
        shown="127.0.0.1",
        min_length=1,
    )
    dns_port: int = setting(5353, "Port of a primary in DNS_SERVER without one", group=_PRIMARY, ge=1, le=65_535)
    dns_timeout: Duration = setting(
        5.0, "Longest silence of the primary that is waited out", group=_PRIMARY, shown="5s", ge=0.05, le=300
    )
    zone: Name | None = setting(
        None, "Zone that is updated", group=_PRIMARY, shown="the enclosing zone of the base, asked of the primary"
    )
    update_batch: int = setting(500, "Names in one UPDATE message at most", group=_PRIMARY, ge=1, le=10_000)
    update_octets: int = setting(60_000, "Octets of one UPDATE message at most", group=_PRIMARY, ge=4_096, le=65_535)

    dns_tls: bool = setting(False, "Speak TLS with the primary (RFC 9103)", group=_PRIMARY)
    dns_tls_ca: Path | None = setting(
        None, "File with the CA certificates of the primary, in PEM", group=_PRIMARY, shown="the system's"
    )
    dns_tls_cert: Path | None = setting(None, "File with our certificate, in PEM", group=_PRIMARY, shown="none")
    dns_tls_key: Path | None = setting(
        None, "File with its private key, in PEM", group=_PRIMARY, shown="in DNS_TLS_CERT"
    )
    dns_tls_hostname: str | None = setting(
        None, "Name that the primary's certificate is for", group=_PRIMARY, shown="the host in DNS_SERVER"
    )
    tsig_key_file: Paths = setting(
        (),
        "File with the TSIG key, as tsig-keygen writes it; several (comma list) are one for each of DNS_SERVER",
        group=_KEYS,
        shown="none",
    )
    tsig_key_name: KeyName | None = setting(
        None, "Name of the TSIG key, instead of a key file", group=_KEYS, shown="none"
    )
    tsig_algorithm: Algorithm = setting(
        "hmac-sha256", "Its algorithm: hmac-sha224, -sha256, -sha384, -sha512 (or -sha1, weak)", group=_KEYS
    )
    tsig_secret: SecretStr | None = setting(None, "Its secret, in base64", group=_KEYS, shown="none")
    tsig_secret_file: Path | None = setting(None, "File with its secret, in base64", group=_KEYS, shown="none")
    transfer_tsig_key_file: Paths = setting(
        (), "File with another key, for zone transfers; several as above", group=_KEYS, shown="the key for updates"
    )
    transfer_tsig_key_name: KeyName | None = setting(
        None, "Name of another key, for zone transfers", group=_KEYS, shown="the key for updates"
    )
    transfer_tsig_algorithm: Algorithm = setting("hmac-sha256", "Its algorithm", group=_KEYS)
    transfer_tsig_secret: SecretStr | None = setting(None, "Its secret, in base64", group=_KEYS, shown="none")
    transfer_tsig_secret_file: Path | None = setting(None, "File with its secret, in base64", group=_KEYS, shown="none")
    gss_tsig: bool = setting(
        False,
        "Negotiate the key by Kerberos, as Active Directory wants it (GSS-TSIG; needs the extra gss)",
        group=_KEYS,
    )
    gss_tsig_hostname: Texts = setting(
        (),
        "Host name in the primary's service DNS/<host>; several (comma list) are one for each of DNS_SERVER",
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
    max_delete_percent: int = setting(
        30, "Keep deletions back that exceed this part of the owned names", group=_SAFETY, ge=0, le=100
    )

    hold_down: Duration = setting(
        300.0,
        "How long addresses that vanish from the status of a living VMI are held",
        group=_CONTROLLER,
        shown="300s",
        ge=0,
        le=86_400,
    )
    drift_interval: Duration = setting(
        30.0,
        "How often the zone's serial is asked for, to see what others change",
        group=_CONTROLLER,
        shown="30s",
        ge=0.5,
        le=86_400,
    )
    full_read_interval: Duration = setting(
        3600.0,
        "How often the whole zone is read, to see changes that left its serial as it was",
        group=_CONTROLLER,
        shown="1h",
        ge=1,
        le=604_800,
    )
    leader_election: bool = setting(
        False, "Let one of several controllers work at a time, by a Lease in its own namespace", group=_CONTROLLER
    )
    notify_listen: Listener | None = setting(
        None,
        "Address to listen on for NOTIFY from the primary, as addr:port; with a TSIG key set, only signed ones count",
        group=_CONTROLLER,
        shown="nowhere",
    )
    notify_secondaries: Texts = setting(
        (),
        "Secondaries that are sent NOTIFY: host[:port], of a name all addresses (comma list; without a port: 53)",
        group=_CONTROLLER,
        shown="none",
    )
    status_address: Listener = setting(
        Server("", 8081), "Where health, metrics and the status page are", group=_CONTROLLER, shown=":8081"
    )

    @property
    def base(self) -> bytes:
        """The owner name below which everything is published."""
        return _VM + self.domain

    @property
    def owner(self) -> str:
        """The owner ID: `default` where neither a setting nor a cluster says it."""
        return self.owner_id or "default"


_VM = b"\2vm"


def flag_of(field: str) -> str:
    """Return the flag of a setting: `dns_server` is --dns-server."""
    return "--" + field.replace("_", "-")

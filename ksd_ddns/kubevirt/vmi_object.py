# SPDX-License-Identifier: Apache-2.0
"""A VirtualMachineInstance as the API gives it, cut down to what naming needs.

msgspec decodes it from JSON bytes (`msgspec.json.Decoder(VmiObject)`, also as a field of a list page or a watch event)
or from plain mappings (`msgspec.convert(value, VmiObject)`). It skips everything else without building it, and raises
`msgspec.ValidationError` with the path if a field has the wrong type.
"""

from typing import Annotated

import msgspec

IGNORE = "ksd-ddns/ignore"
TTL = "ksd-ddns/ttl"
HOSTNAME = "ksd-ddns/hostname"
GROUP = "ksd-ddns/group"
GROUP_PORTS = "ksd-ddns/group-ports"

DEFAULT_NAMESPACE = "default"
"""The namespace of objects without one, as for kubectl."""

# `namespace/name` is an identity, and shown on terminals: neither part may hold a slash, or what is not plain ASCII.
# The API server allows less; what has more was made by hand.
_Name = Annotated[str, msgspec.Meta(min_length=1, pattern="^[!-.0-~]+$")]
_Namespace = Annotated[str, msgspec.Meta(pattern="^[!-.0-~]*$")]


class Annotations(msgspec.Struct, gc=False):
    """The annotations that ksd-ddns reads, as written; others can be large and are not built."""

    ignore: str | None = msgspec.field(default=None, name=IGNORE)
    ttl: str | None = msgspec.field(default=None, name=TTL)
    hostname: str | None = msgspec.field(default=None, name=HOSTNAME)
    group: str | None = msgspec.field(default=None, name=GROUP)
    group_ports: str | None = msgspec.field(default=None, name=GROUP_PORTS)


class Metadata(msgspec.Struct, gc=False, rename="camel"):
    """`metadata`; a missing namespace is `default`, as for kubectl."""

    name: _Name
    namespace: _Namespace | None = None
    uid: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str | None] | None = None
    annotations: Annotations | None = None


class Pod(msgspec.Struct, gc=False):
    """`spec.networks[].pod`: that it is there is all that matters."""


class Multus(msgspec.Struct, gc=False, rename={"network_name": "networkName"}):
    """`spec.networks[].multus`; `network_name` is `namespace/name` or `name` of a NetworkAttachmentDefinition."""

    default: bool | None = None
    network_name: str | None = None


class Network(msgspec.Struct, gc=False):
    """An entry of `spec.networks`."""

    name: str | None = None
    pod: Pod | None = None
    multus: Multus | None = None


class SpecInterface(msgspec.Struct, gc=False):
    """An entry of `spec.domain.devices.interfaces`; the state `absent` unplugs it."""

    name: str | None = None
    state: str | None = None


class Devices(msgspec.Struct, gc=False):
    """`spec.domain.devices`."""

    interfaces: list[SpecInterface | None] | None = None


class Domain(msgspec.Struct, gc=False):
    """`spec.domain`."""

    devices: Devices | None = None


class Spec(msgspec.Struct, gc=False):
    """`spec`."""

    networks: list[Network | None] | None = None
    domain: Domain | None = None


class StatusInterface(msgspec.Struct, gc=False, rename={"ip_address": "ipAddress", "ip_addresses": "ipAddresses"}):
    """An entry of `status.interfaces`. One without a name is known to the guest only."""

    name: str | None = None
    ip_address: str | None = None
    ip_addresses: list[str | None] | None = None


class Condition(msgspec.Struct, gc=False):
    """An entry of `status.conditions`."""

    type: str | None = None
    status: str | None = None


class Status(msgspec.Struct, gc=False):
    """`status`."""

    phase: str | None = None
    conditions: list[Condition | None] | None = None
    interfaces: list[StatusInterface | None] | None = None


class VmiObject(msgspec.Struct, gc=False, rename="camel"):
    """A VirtualMachineInstance as the API gives it, cut down to what naming needs.

    Everything but `metadata.name` may be missing or null. `api_version` and `kind` are not checked here: an item of a
    list page has none.
    """

    metadata: Metadata
    api_version: str | None = None
    kind: str | None = None
    spec: Spec | None = None
    status: Status | None = None

    @property
    def namespace(self) -> str:
        """The namespace, `default` when the object names none."""
        return self.metadata.namespace or DEFAULT_NAMESPACE

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.metadata.name}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels; a null value is the empty string, as the API server reads it."""
        return {key: value or "" for key, value in (self.metadata.labels or {}).items()}

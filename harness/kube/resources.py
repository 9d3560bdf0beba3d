# SPDX-License-Identifier: Apache-2.0
"""The kinds of the fake API server, their URLs, and their validation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from harness.kube.store import Json

Cause: TypeAlias = tuple[str, str, str]  # field, type of error, text

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_RULE = {
    _SUBDOMAIN: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    _LABEL: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
}


def _nothing(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[Cause]:
    yield from ()


def _same(obj: Json) -> Json:
    return obj


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind under one API version.

    Objects are kept under `stored`; a kind that shares the storage of another one translates with `shown` and `read`.
    `check` validates a new or changed object, `times` are the fields of type MicroTime.
    """

    group: str
    version: str
    plural: str
    kind: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    custom: bool = False
    creates_on_update: bool = False
    unconditional_update: bool = True
    name_rule: re.Pattern[str] = _SUBDOMAIN
    fields: frozenset[str] = frozenset()
    times: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any], Mapping[str, Any] | None], Iterator[Cause]] = field(default=_nothing)
    stored: str = ""
    shown: Callable[[Json], Json] = field(default=_same)
    read: Callable[[Json], Json] = field(default=_same)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage(self) -> str:
        return self.stored or f"{self.group}/{self.plural}"

    @property
    def is_view(self) -> bool:
        return bool(self.stored)

    @property
    def qualified(self) -> str:
        """As in virtualmachineinstances.kubevirt.io."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self.namespaced else name

    def wrong_name(self, name: str) -> str | None:
        """Return the error in `name`, in the words of the API server."""
        longest = 63 if self.name_rule is _LABEL else 253
        if len(name) > longest:
            return f"must be no more than {longest} characters"
        return None if self.name_rule.fullmatch(name) else _RULE[self.name_rule]


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL path names. A namespace that is itself the object is its own namespace, as RBAC sees it."""

    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def target_of(path: str) -> Target | None:
    """Return what `path` names, None where it is no resource's path, such as /version."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    if len(rest) > 3:
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    return Target(group, version, rest[0], namespace, name, subresource)


# --- Events: one store, two API versions -------------------------------------------------------------------------

_EVENT_FIELDS = {  # core/v1: events.k8s.io/v1
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}


def _renamed(obj: Json, names: Mapping[str, str], api_version: str) -> Json:
    return {names.get(key, key): value for key, value in obj.items()} | {"apiVersion": api_version}


def _as_new_event(obj: Json) -> Json:
    return _renamed(obj, _EVENT_FIELDS, "events.k8s.io/v1")


def _as_core_event(obj: Json) -> Json:
    return _renamed(obj, {new: old for old, new in _EVENT_FIELDS.items()}, "v1")


def _check_event(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[Cause]:
    """Return the errors of the validation common to both versions; `new` is in the stored form, that of core/v1."""
    namespace = new["metadata"].get("namespace", "")
    involved = (new.get("involvedObject") or {}).get("namespace", "")
    text = f'Invalid value: "{involved}": does not match event.namespace'
    mismatch = ("involvedObject.namespace", "FieldValueInvalid", text)
    if not new.get("eventTime"):
        if namespace != (involved or "default"):
            yield mismatch
        return
    if not involved and namespace not in ("default", "kube-system"):
        yield mismatch
    for name, shown, longest in (
        ("reportingComponent", "reportingController", None),
        ("reportingInstance", "reportingInstance", 128),
        ("action", "action", 128),
        ("reason", "reason", 128),
    ):
        value = new.get(name) or ""
        if not value:
            yield shown, "FieldValueRequired", "Required value"
        elif longest is not None and len(value) > longest:
            yield shown, "FieldValueInvalid", f'Invalid value: "": can have at most {longest} characters'
    if len((new.get("message") or "").encode()) > 1024:
        yield "message", "FieldValueInvalid", 'Invalid value: "": can have at most 1024 characters'


_FIXED_IN_EVENT = ("involvedObject", "reason", "message", "type", "eventTime", "action", "related",
                   "reportingComponent", "reportingInstance")  # fmt: skip


def _check_new_event(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[Cause]:
    """Return the errors of the stricter validation of events.k8s.io/v1; `new` is in the stored form."""
    yield from _check_event(new, old)
    if old is not None:
        for name in _FIXED_IN_EVENT:
            if new.get(name) != old.get(name):
                yield name, "FieldValueInvalid", "Invalid value: field is immutable"
        return
    if not new.get("eventTime"):
        yield "eventTime", "FieldValueRequired", "Required value"
    if new.get("type") not in ("Normal", "Warning"):
        yield "type", "FieldValueInvalid", f'Invalid value: "": has invalid value: {new.get("type", "")}'
    for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if new.get(name):
            yield name, "FieldValueInvalid", 'Invalid value: "": needs to be unset'
    series = new.get("series")
    if series is not None and series.get("count", 0) < 2:
        yield "series.count", "FieldValueInvalid", 'Invalid value: "": should be at least 2'


def _check_lease(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        yield "spec.leaseDurationSeconds", "FieldValueInvalid", f"Invalid value: {seconds}: must be greater than 0"
    if transitions is not None and transitions < 0:
        yield ("spec.leaseTransitions", "FieldValueInvalid",
               f"Invalid value: {transitions}: must be greater than or equal to 0")  # fmt: skip


# metav1.MicroTime reads exactly six digits: isoformat() of a full second, or milliseconds, are refused.
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")

VMIS = Resource("kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", ("vmi", "vmis"),
                custom=True, unconditional_update=False)  # fmt: skip
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", ("ns",), namespaced=False, name_rule=_LABEL)
EVENTS = Resource(
    "", "v1", "events", "Event", ("ev",), creates_on_update=True, check=_check_event,
    times=("eventTime", "series.lastObservedTime"),
    fields=frozenset((
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
        "reason", "reportingComponent", "type",
    )),
)  # fmt: skip
NEW_EVENTS = Resource(
    "events.k8s.io", "v1", "events", "Event", ("ev",), creates_on_update=True, check=_check_new_event,
    times=("eventTime", "series.lastObservedTime"), stored=EVENTS.storage,
    shown=_as_new_event, read=_as_core_event,
)  # fmt: skip
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", creates_on_update=True, unconditional_update=False,
                  check=_check_lease, times=("spec.acquireTime", "spec.renewTime"))  # fmt: skip
NETWORKS = Resource("k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition",
                    ("net-attach-def",), custom=True, unconditional_update=False)  # fmt: skip
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", ("cm",))

RESOURCES = (NAMESPACES, EVENTS, CONFIG_MAPS, NEW_EVENTS, LEASES, VMIS, NETWORKS)


def value_at(obj: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None where it ends early."""
    value: Any = obj
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value

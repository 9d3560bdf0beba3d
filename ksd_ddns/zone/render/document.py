# SPDX-License-Identifier: Apache-2.0
"""Zones -> JSON: `plan`, `apply` and `list` with `-o json`, and `/records` share a schema (docs/reference/json.md)."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.wire.text import rdata_text, rdtype_text
from ksd_ddns.zone.desired import Unpublished
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.ownership_record import OwnershipRecord
from ksd_ddns.zone.plan import Change, Conflict, Kind, Plan
from ksd_ddns.zone.render import message

VERSION = 1
"""The version of the schema: it increases when a field is removed or changes its meaning, not when one is added."""


def document(zones: Iterable[dict[str, object]], *, exit_code: int | None = None) -> bytes:
    """Return the JSON document with these zones, and the exit code of a command that changes them."""
    code = {} if exit_code is None else {"exit_code": exit_code}
    return msgspec.json.format(msgspec.json.encode({"version": VERSION, **code, "zones": list(zones)}), indent=2)


def plan(of: Plan) -> dict[str, object]:
    """Return a plan as a zone of the document."""
    return {
        "zone": names.to_text(of.zone),
        "serial": of.serial,
        "changes": [_change(change) for change in of.changes],
        "conflicts": [conflict(item) for item in of.conflicts],
        "blocked": [_change(change) for change in of.blocked],
        "summary": {
            "add": of.count(Kind.ADD),
            "change": of.count(Kind.CHANGE),
            "delete": of.count(Kind.DELETE),
            "conflicts": len(of.conflicts),
            "blocked": len(of.blocked),
            "owned": of.owned,
        },
    }


def unpublished(vmis: Mapping[str, Unpublished]) -> list[dict[str, object]]:
    """Return the VMIs that have nothing to publish, by `namespace/name`, as objects."""
    return [{"vmi": vmi, "cause": cause.value, "message": message.unpublished(cause)} for vmi, cause in vmis.items()]


def applied(of: Plan, refusals: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return what was applied as a zone of the document: a plan with the changes that were made, and `refusals`.

    Each of the refusals is from `refused`.
    """
    found = list(refusals)
    shown = plan(of)
    counts = shown.pop("summary")
    assert isinstance(counts, dict), "as plan() makes it"
    return {**shown, "refused": found, "summary": {**counts, "refused": sum(int(str(item["count"])) for item in found)}}


def owned(of: Owned) -> dict[str, object]:
    """Return our records in a zone as a zone of the document."""
    return {"zone": names.to_text(of.live.zone), "serial": of.live.serial, "records": list(records(of))}


def records(of: Owned) -> Iterator[dict[str, object]]:
    """Yield our records in a zone, one object for each RRset."""
    for name, ownership, item in of.records():
        yield record(name, ownership, item)


def record(name: bytes, ownership: OwnershipRecord | None, item: RRset) -> dict[str, object]:
    """Return one RRset of ours, and the VMI or group that it is for, as an object."""
    group = {"group": ownership.group} if ownership and ownership.group else {}
    return {"name": names.to_text(name), "vmi": ownership.vmi if ownership else "", **group, **rrset(item)}


def conflict(of: Conflict) -> dict[str, object]:
    """Return a conflict as an object; fields that its cause does not use are left out."""
    details = {
        "owners": list(of.owners),
        "winner": of.winner,
        "ancestor": names.to_text(of.ancestor) if of.ancestor else "",
    }
    return {
        "name": names.to_text(of.name),
        "vmi": of.vmi,
        "cause": of.cause.value,
        "message": message.conflict(of),
        **{key: value for key, value in details.items() if value},
        "wanted": rrsets(of.wanted),
        "found": rrsets(of.found),
    }


def _change(of: Change) -> dict[str, object]:
    return {
        "name": names.to_text(of.name),
        "kind": of.kind.value,
        "old": rrsets(of.old),
        "new": rrsets(of.new),
        **({"index_only": True} if of.index_only else {}),
    }


def rrsets(node: Node) -> list[dict[str, object]]:
    """Return the RRsets of a node as objects."""
    return [rrset(item) for item in node.rrsets]


def rrset(of: RRset) -> dict[str, object]:
    """Return an RRset as an object."""
    return {
        "type": rdtype_text(of.type),
        "ttl": of.ttl,
        "values": [rdata_text(of.type, rdata) for rdata in of.rdatas],
    }


def refused(*, cause: str, count: int, first: Iterable[str], reason: str) -> dict[str, object]:
    """Return the names that the primary refuses for one cause as an object: how many, the `first` of them, and why."""
    return {"cause": cause, "count": count, "names": list(first), "message": reason}

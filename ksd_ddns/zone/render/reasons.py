# SPDX-License-Identifier: Apache-2.0
"""States and rules of explanations as text: a clause for the problem, and one for the fix."""

from ksd_ddns.wire import names
from ksd_ddns.zone.explain import AddressExplanation, NameExplanation, Skip, State, ZoneFact
from ksd_ddns.zone.plan import ConflictCause, Kind
from ksd_ddns.zone.render import message
from ksd_ddns.zone.render.refused import Advice, refused

_SKIPPED = {
    Skip.POD_NETWORK: Advice("default network (NETWORKS=all publishes it)"),
    Skip.NETWORKS: Advice("network not in NETWORKS"),
    Skip.UNPLUGGED: Advice("the interface is unplugged (state: absent)"),
    Skip.GUEST_ONLY: Advice("no interface of the VM: only the guest knows it"),
    Skip.NO_ADDRESS: Advice(
        "the status of the VMI has no address", "install the guest agent in the VM, or wait until it has an address"
    ),
    Skip.NOT_AN_ADDRESS: Advice("not an IP address"),
    Skip.PUBLISH_CIDRS: Advice("outside PUBLISH_CIDRS"),
    Skip.EXCLUDE_CIDRS: Advice("inside EXCLUDE_CIDRS"),
    Skip.MAX_ADDRESSES: Advice("the interface has more than {limit} addresses of one family", "raise MAX_ADDRESSES"),
    Skip.FLOOD: Advice("the VMI reports more interfaces or addresses than are read"),
    Skip.ILLEGAL_INTERFACE_NAME: Advice("the name of the interface cannot be part of a DNS name", "rename it"),
    Skip.DUPLICATE_INTERFACE_NAME: Advice(
        "another interface has the same DNS name", "rename one of them, or use {interface} in INTERFACE_NAME"
    ),
    Skip.MAX_NAMES: Advice("the VMI has more than {limit} names", "raise MAX_NAMES"),
    Skip.MAX_NAMES_PER_NAMESPACE: Advice(
        "the namespace has no more than {limit} names, and older VMIs come first", "raise MAX_NAMES_PER_NAMESPACE"
    ),
    Skip.MAX_RRSET: Advice("the name has {limit} records of older VMIs", "raise MAX_RRSET"),
    Skip.NOT_READY: Advice("this member of the group is not ready", "see the condition Ready of the VMI"),
    Skip.NO_READY_MEMBER: Advice("no member of the group is ready", "see the condition Ready of the VMIs"),
    Skip.IGNORED: Advice("the annotation ksd-ddns/ignore is true", "remove the annotation"),
    Skip.ENDED: Advice("the VM has ended", "start it again"),
    Skip.NAMESPACES: Advice("the namespace is not in NAMESPACES", "add it there"),
    Skip.LABEL_SELECTOR: Advice("the labels of the VMI do not match LABEL_SELECTOR", "add the label to the VM"),
    Skip.ILLEGAL_VMI_NAME: Advice("the name or namespace of the VMI cannot be part of a DNS name", "rename the VM"),
}

_FREE = "a free name is published within DRIFT_INTERVAL"

_CONFLICT_FIXES = {
    ConflictCause.UNOWNED: f"delete the record, or choose another name: {_FREE}",
    ConflictCause.OTHER_OWNER: "set TAKE_OVER_FROM to that owner ID, if that owner is gone; if it is another cluster, "
    "use another name in one of the clusters, or delete the records there",
    ConflictCause.OTHER_PROGRAM: f"delete the name in that program, or choose another name: {_FREE}",
    ConflictCause.OLDER_VMI: "choose another name for one of the two",
    ConflictCause.INTERFACE_FIRST: "choose another hostname",
    ConflictCause.HOSTNAME_FIRST: "choose another name for the group",
    ConflictCause.ZONE_RECORD: "choose another name",
    ConflictCause.CNAME: f"delete the CNAME, or choose another name: {_FREE}",
    ConflictCause.UNREADABLE: f"query the primary for the name, and correct the zone that it answers from: {_FREE}",
    ConflictCause.DELEGATION: "set ZONE and DNS_SERVER to the delegated zone",
    ConflictCause.DNAME: "delete the DNAME, or choose another DOMAIN",
}


def skipped(skip: Skip, limit: int = 0) -> Advice:
    """Return the rule that excludes an address or name, and what changes that."""
    found = _SKIPPED[skip]
    return Advice(found.problem.format(limit=limit), found.fix)


def address(of: AddressExplanation) -> Advice:
    """Return why an address has no name, or its interface none of its own; empty if nothing is wrong."""
    if of.skip is Skip.NEVER_PUBLISHED and of.kind is not None:
        return Advice(f"{message.kind(of.kind, of.embedding)} is never published")
    return skipped(of.skip, of.limit) if of.skip is not None else Advice("")


def name(of: NameExplanation, zone: ZoneFact) -> Advice:  # noqa: PLR0911 one for each state
    """Return why a name is in its state, and the remedy; empty if the state says it all."""
    match of.state:
        case State.SKIPPED if of.skip is not None:
            return skipped(of.skip, of.limit)
        case State.CONFLICT if of.conflict is not None:
            return Advice(message.conflict(of.conflict), _CONFLICT_FIXES.get(of.conflict.cause, ""))
        case State.REFUSED if of.refusal is not None:
            fact = of.refusal
            return refused(
                fact.refusal,
                zone=names.to_text(of.zone),
                server=fact.server,
                accepts=fact.accepts,
                ours=fact.ours,
            )
        case State.BLOCKED:
            return Advice(
                "the deletion limit blocks the deletion: too many VMIs are missing at once",
                "check that the list of VMIs is complete, then run apply --force or raise MAX_DELETE_PERCENT",
            )
        case State.PENDING | State.MISSING | State.LEFTOVER | State.UNKNOWN:
            return _unfinished(of, zone)
        case State.HELD if of.hold is not None:
            return Advice(f"interface {of.hold.interface!r} reports no address: the last one stays for HOLD_DOWN")
    return Advice("")


def _unfinished(of: NameExplanation, zone: ZoneFact) -> Advice:
    if zone.problem is not None:
        return Advice(str(zone.problem))
    if of.state is State.UNKNOWN:
        return Advice("the zone has not been read yet, or (READ=queries) not at this name")
    if of.state is State.PENDING:
        return Advice(_pending(of))
    if of.state is State.LEFTOVER:
        return Advice("the name is ours, and no VMI wants it", "ksd-ddns apply deletes it, unless POLICY=upsert-only")
    wrong = "the zone holds something else" if of.change is Kind.CHANGE else "the name is not in the zone"
    return Advice(
        wrong,
        "check that the controller runs, and ask it with --url whether the primary refuses the name; or run ksd-ddns "
        "apply",
    )


def _pending(of: NameExplanation) -> str:
    if of.unconfirmed_since is not None:
        return "the primary accepted the change, and the zone does not show it yet"
    if of.moves_to:
        new = ", ".join(map(names.to_text, of.moves_to))
        return f"the name is deleted when a new one of the VM is in DNS: {new}"
    return "the deletion is sent next" if of.change is Kind.DELETE else "the change is sent next"

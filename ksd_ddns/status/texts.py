# SPDX-License-Identifier: Apache-2.0
"""The texts of the page for each cause of a problem: a title and a fix."""

from typing import NamedTuple

from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.sync.snapshot import Part, ProblemCause
from ksd_ddns.zone.plan import ConflictCause
from ksd_ddns.zone.reconciler.refusals import Cause


class Words(NamedTuple):
    """The title of a cause, and its fix, empty if there is none. {name} in them stands for one of its names."""

    title: str
    fix: str = ""


REFUSED = {
    Cause.HOST_NAME: Words(
        "The zone checks host names, and {name} is not one",
        'Add "check-names ignore;" to the zone, or "check-names primary ignore;" to the options of the server. Or '
        "rename the interface or hostname.",
    ),
    Cause.PERMISSION: Words(
        "The key lacks permission for these names or their types",
        "Look at the update-policy of the zone (BIND) or its acl (Knot).",
    ),
    Cause.ZONE: Words(
        "The primary accepts no update of the zone",
        "Thaw the zone if it is frozen (rndc thaw, knotc zone-thaw). If it is not, check the permission of the key, "
        "that the server is the primary of the zone, and that its disk is not full.",
    ),
    Cause.LIMIT: Words(
        "A name has more records of one type than the zone allows",
        "Raise max-records-per-type in BIND, or lower MAX_RRSET.",
    ),
    Cause.SERVER: Words("The primary fails to make these changes", "Look at the log of the primary."),
    Cause.NOT_SHOWN: Words(
        "The primary acknowledged these changes, but they are not in the zone",
        "Check the update-policy of the zone: it may ignore them. Inline signing may also be slow.",
    ),
    Cause.NO_TXT: Words(
        "The primary leaves out the ownership records",
        "Allow TXT in the policy of the zone. Then take over these names with ADOPT=true.",
    ),
    Cause.CHANGING: Words(
        "Another program keeps changing these names",
        "Delete the names on the primary and stop the other program, or rename the VMs.",
    ),
    Cause.OTHER: Words("The primary refuses these names", "Look at the log of the primary."),
}

CONFLICT = {
    ConflictCause.UNOWNED: Words(
        "Names exist without an ownership record",
        "Delete the records on the primary, or rename the VMs. Free names are published within DRIFT_INTERVAL.",
    ),
    ConflictCause.UNOWNED_EQUAL: Words(
        "Names exist with the wanted records, but without an ownership record",
        "Take them over with ksd-ddns apply --adopt, or with ADOPT=true.",
    ),
    ConflictCause.OTHER_OWNER: Words(
        "Names belong to another owner ID",
        "If that owner is gone, set TAKE_OVER_FROM to its ID. If it is another cluster, delete the names there, or "
        "rename the VMs.",
    ),
    ConflictCause.SEVERAL_OWNERS: Words(
        "Names have ownership records of several owners", "Delete one of the ownership records at each name."
    ),
    ConflictCause.OTHER_PROGRAM: Words("Names belong to another program", "Delete them with that program."),
    ConflictCause.OLDER_VMI: Words(
        "Several VMs want the same name", "Choose another name for one of them: of the annotation, interface or VM."
    ),
    ConflictCause.INTERFACE_FIRST: Words(
        "An annotation asks for the name of an interface of another VM", "Change the annotation ksd-ddns/hostname."
    ),
    ConflictCause.HOSTNAME_FIRST: Words(
        "A group asks for a name that another VM has", "Change the annotation ksd-ddns/group."
    ),
    ConflictCause.ZONE_RECORD: Words("Names are reserved for the zone itself", "Rename the VM or its annotation."),
    ConflictCause.CNAME: Words("CNAME records exist at these names", "Delete the CNAME records, or rename the VMs."),
    ConflictCause.DELEGATION: Words(
        "Names are in a delegated part of the zone", "Delete the delegation, or publish in that zone instead."
    ),
    ConflictCause.DNAME: Words("Names are hidden by a DNAME record", "Delete the DNAME record."),
    ConflictCause.UNREADABLE: Words(
        "Names cannot be read", "Query the primary for one of them, and correct the zone that it answers from."
    ),
    ConflictCause.OUTSIDE_BASE: Words(
        "Names are outside the base", "Set OWNERSHIP=txt, or change the annotation ksd-ddns/hostname."
    ),
}

HELD = Words(
    "VMs report no address, the last one stays in DNS",
    "Usually none is needed: a guest agent restarts, or a VM migrates. If it lasts, check qemu-guest-agent in the VM.",
)

WAITING = Words(
    "VMs change too often", "Look for a guest that keeps changing its addresses. The last change is published later."
)

NOT_READY_MEMBER = Words(
    "Members of groups are not ready",
    "Look at the condition Ready of the VMI: its readiness probe fails. A VM that is ready is in the group again.",
)

BLOCKED = Words(
    "The deletion limit blocks deletions",
    "If the VMs are gone, run ksd-ddns apply --force. If not, check NAMESPACES, LABEL_SELECTOR, and the list of VMs "
    "in the cluster.",
)

_ANNOTATION = "Change the annotation."
SKIPPED = {
    WarningCode.BAD_ADDRESS: Words(
        "VMs report something that is not an IP address", "Check the guest agent of the VM."
    ),
    WarningCode.UNPUBLISHABLE_ADDRESS: Words(
        "Addresses of a kind that is never published, such as link-local",
        "Check DHCP in the network of the interface: a guest without a lease has a link-local address.",
    ),
    WarningCode.BAD_ANNOTATION: Words("Annotations have a value that is not allowed", _ANNOTATION),
    WarningCode.EMPTY_HOSTNAME: Words("A hostname annotation has an empty name", _ANNOTATION),
    WarningCode.ILLEGAL_VMI_NAME: Words("VM names cannot be DNS names", "Rename the VM."),
    WarningCode.ILLEGAL_INTERFACE_NAME: Words("Interface names cannot be DNS names", "Rename the interface."),
    WarningCode.DUPLICATE_INTERFACE_NAME: Words("Interfaces have the same DNS name", "Rename one of them."),
    WarningCode.ILLEGAL_HOSTNAME: Words("Hostname annotations cannot be DNS names", _ANNOTATION),
    WarningCode.FOREIGN_HOSTNAME: Words(
        "Hostnames are outside the namespace of the VM", "An admin can allow them with HOSTNAME_SCOPE=zone."
    ),
    WarningCode.RESERVED_HOSTNAME: Words("Hostnames are reserved for the zone itself", _ANNOTATION),
    WarningCode.OUTSIDE_HOSTNAME: Words("Hostnames are outside the zone, or too long", _ANNOTATION),
    WarningCode.EMPTY_GROUP: Words("A group annotation has an empty name", _ANNOTATION),
    WarningCode.ILLEGAL_GROUP: Words("Group annotations cannot be DNS names", _ANNOTATION),
    WarningCode.GROUP_INTERFACE: Words("A group asks for an interface that the VM does not have", _ANNOTATION),
    WarningCode.GROUP_FULL: Words("Groups have more addresses than one name may hold", "Raise MAX_RRSET."),
    WarningCode.MAX_ADDRESSES: Words("Interfaces have more addresses than MAX_ADDRESSES", "Raise MAX_ADDRESSES."),
    WarningCode.MAX_NAMES: Words("VMs want more names than MAX_NAMES", "Raise MAX_NAMES."),
    WarningCode.MAX_NAMES_PER_NAMESPACE: Words(
        "Namespaces want more names than MAX_NAMES_PER_NAMESPACE", "Raise MAX_NAMES_PER_NAMESPACE."
    ),
    WarningCode.MAX_RRSET: Words("Too many interfaces share an address", "Raise MAX_RRSET."),
    WarningCode.MORE: Words("VMs have more warnings than are kept"),
}

PROBLEMS = {
    ProblemCause.FIRST_SYNC: "The first full sync is not complete yet",
    ProblemCause.UNREADABLE: "The VMs cannot be read",
    ProblemCause.STOPPED: "The controller of the zone has stopped",
    ProblemCause.FAILED: "The primary does not answer",
    ProblemCause.REFUSED: "The primary refuses updates that it used to accept",
    ProblemCause.DELETION_LIMIT: BLOCKED.title,
}
"""Titles of what makes a zone not ready. The text of the problem includes the fix."""

NOT_READY = {
    Part.SYNC: "the first sync is not complete yet",
    Part.SOURCE: "the VMs cannot be read",
    Part.PRIMARY: "the primary does not accept updates",
    Part.DELETIONS: "deletions are blocked",
}
"""The problem, for the sentence at the top."""

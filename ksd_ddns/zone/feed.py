"""What a source of VMIs tells, whatever it reads from."""

from typing import ClassVar, TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.render import values


class Listed(msgspec.Struct, frozen=True):
    """All VMIs there are in `scope` (a part of the cluster that is listed by itself, empty for all of it).

    Comes only when the whole list was read: a VMI that is missing in it is gone. `unread` are the keys of those that
    are there, but could not be read, and were not known before.
    """

    scope: str
    vmis: tuple[Vmi, ...]
    unread: frozenset[str] = frozenset()


class Changed(msgspec.Struct, frozen=True):
    """A VMI came, or is now as it is here. `at` is when that was heard, by the monotonic clock, in seconds."""

    vmi: Vmi
    at: float


class Gone(msgspec.Struct, frozen=True):
    """The VMI `key` (`namespace/name`) was seen to be deleted."""

    key: str
    at: float


class Failing(msgspec.Struct, frozen=True):
    """`scope` cannot be read now, for `reason`; what was told before stays valid. An empty reason: it can again."""

    scope: str
    reason: str


class Remark(msgspec.Struct, frozen=True):
    """Something that the owner of a VMI should see on it; `reason` is a word in CamelCase, `text` a sentence."""

    vmi: str
    uid: str
    reason: str
    text: str

    warning: ClassVar[bool] = True


class Published(msgspec.Struct, frozen=True, gc=False):
    """The remark that a name was published first, with the RRsets of `types` that are in `node`.

    Its text is made when it is read: a zone that is filled makes a remark for each name, and most are never written.
    """

    vmi: str
    uid: str
    node: Node
    types: tuple[int, ...]

    reason: ClassVar[str] = "Published"
    warning: ClassVar[bool] = False

    @property
    def text(self) -> str:
        """The sentence."""
        found = "; ".join(values(item) for item in self.node.rrsets if item.type in self.types)
        return f"{names.to_text(self.node.name)} is published: {found}"


Said: TypeAlias = Remark | Published

Told: TypeAlias = Listed | Changed | Gone | Failing

"""What the owner of a VMI should know: what is published first, and what is not, and why."""

from typing import ClassVar, TypeAlias

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.render import text as render


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
        found = "; ".join(render.values(item) for item in self.node.rrsets if item.type in self.types)
        return f"{names.to_text(self.node.name)} is published: {found}"


Said: TypeAlias = Remark | Published

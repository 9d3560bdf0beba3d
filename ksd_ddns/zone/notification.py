# SPDX-License-Identifier: Apache-2.0
"""Notifications for the owner of a VMI: a new name was published, or something cannot be published."""

from typing import ClassVar, TypeAlias

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.render import text as render


class VmiWarning(msgspec.Struct, frozen=True):
    """Something of a VMI cannot be published; `reason` is a word in CamelCase, `text` a sentence."""

    vmi: str
    uid: str
    reason: str
    text: str

    warning: ClassVar[bool] = True


class Published(msgspec.Struct, frozen=True, gc=False):
    """A new name was published, with the RRsets of `types` in `node`.

    The text is made on demand: filling a zone makes one for each name, and most are never written.
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


Notification: TypeAlias = VmiWarning | Published

# SPDX-License-Identifier: Apache-2.0
"""The query of a request for the page, and the links to other views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from ksd_ddns.status.view import STATES
from ksd_ddns.sync.vm_index import KEPT_CHANGES

LIMITS = (25, 100, 500)
"""The choices for the number of rows."""

SORTS = ("state", "vm", "names", "changed")
"""Orders of the VMs; with a leading `-` reversed."""

CHANGES = 10
"""Changes on the page by default."""

LONGEST = 200
"""Maximum characters of a search."""


class Link(str):
    """A link: unlike other text, it is not truncated."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which VMs, in which order, and which page of them. `part`: only this section of the page."""

    q: str = ""
    state: str = ""
    cause: str = ""
    sort: str = ""
    page: int = 1
    limit: int = LIMITS[0]
    changes: int = CHANGES
    part: str = ""

    @property
    def words(self) -> list[str]:
        """The words of the search, in lower case."""
        return self.q.lower().split()

    @property
    def chosen(self) -> bool:
        """Whether VMs are filtered: then the table comes first."""
        return bool(self.q or self.state or self.cause)

    @property
    def overview(self) -> bool:
        """Whether this is the default page: not filtered, not sorted."""
        return not (self.chosen or self.sort)

    def link(self, **changes: object) -> Link:
        """Return the link to this query with `changes`, relative to the page."""
        changed = replace(self, part="", **changes)  # type: ignore[arg-type] # fields of this class
        default = Query()
        names = [name for name in self.__slots__ if getattr(changed, name) != getattr(default, name)]
        found = {name: getattr(changed, name) for name in names}
        return Link(f"?{urlencode(found, errors='replace')}" if names else "./")

    def sorted_by(self, sort: str) -> Link:
        """Return the link that sorts by `sort`, or reverses that order."""
        return self.link(sort=f"-{sort}" if self.order == sort else sort, page=1)

    @property
    def order(self) -> str:
        """The column that the VMs are sorted by."""
        return self.sort or SORTS[0]


def parse(given: Mapping[str, Sequence[str]]) -> Query:
    """Return the query with the parameters `given`; unknown parameters and values out of range are ignored."""

    def text(name: str, allowed: Sequence[str] = ()) -> str:
        found = given.get(name, [""])[0].strip()[:LONGEST]
        return found if not allowed or found in allowed else ""

    def number(name: str, default: int, most: int) -> int:
        found = text(name)
        return min(int(found), most) if found.isascii() and found.isdigit() and int(found) > 0 else default

    return Query(
        q=text("q"),
        state=text("state", STATES),
        cause=text("cause"),
        sort=text("sort", [*SORTS, *(f"-{sort}" for sort in SORTS)]),
        page=number("page", 1, 1_000_000),
        limit=number("limit", LIMITS[0], LIMITS[-1]),
        changes=number("changes", CHANGES, KEPT_CHANGES),
        part=text("part", ("vms",)),
    )

# SPDX-License-Identifier: Apache-2.0
"""The rows of the VMs for the page: states, order, and the text that a search matches. Made by HTTP threads only."""

import re
from collections.abc import Iterable, Iterator, Sequence

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.sync.vm_index import NameProblem, VmIndex, VmRow
from ksd_ddns.wire import names
from ksd_ddns.wire.text import address_text
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.plan import Conflict
from ksd_ddns.zone.reconciler.refusals import Refusal

NOTHING = "nothing"
"""The state of a VM that wants no name and has nothing skipped."""

_STATES = (
    State.REFUSED,
    State.CONFLICT,
    State.BLOCKED,
    State.PENDING,
    State.HELD,
    State.SKIPPED,
    State.PUBLISHED,
)
STATES = (*_STATES, NOTHING)
"""The states of VMs, worst first."""

_RANK = {state: str(rank) for rank, state in enumerate(_STATES)}
_FINE = _RANK[State.PUBLISHED]
_PUBLISHED = (State.PUBLISHED,)
_SHORT = 45
_DOTS = bytes(ord(".") if octet < _SHORT else 10 if octet == 255 else octet for octet in range(256))
"""Converts names in wire form to text for a search: length octets become dots. Those from _SHORT on look like text."""

_CODES = {State.BLOCKED: "deletion-limit", State.SKIPPED: "not-ready"}

_ADDRESS = re.compile(r"[\da-f]*[.:][\da-f.:]*\Z")


class VmView:
    """A VM on the page: `states` worst first, `cause` of the worst, wanted names, and how many of them are in DNS."""

    __slots__ = ("_search", "cause", "changed", "in_dns", "order", "row", "states", "wanted")

    def __init__(self, row: VmRow) -> None:
        self.row = row
        self.wanted = self.in_dns = 0
        self.changed: float | None = None
        self._search: tuple[str, str] | None = None
        fine = True
        for part in row.parts:
            if part is None:
                continue
            self.wanted += len(part.claims)
            self.in_dns += part.in_dns
            if part.changed is not None and (self.changed is None or part.changed > self.changed):
                self.changed = part.changed
            fine = fine and not (part.problems or part.held or part.warnings or part.waits)
        self.states: Sequence[str] = _PUBLISHED
        self.cause = ""
        if not fine:
            found = dict.fromkeys(sorted(self._found()))
            self.states = tuple(dict.fromkeys(State(STATES[int(rank)]) for rank, _ in found))
            self.cause = next(f"{STATES[int(rank)]}/{code}" for rank, code in found)
            # Of the VMs with this cause, those with most states come first.
            self.order = f"{next(iter(found))[0]}{self.cause}\0{9 - len(self.states)}{row.key}"
            return
        if not self.wanted:
            self.states = (NOTHING,)
        self.order = f"{_FINE}\0{row.key}"

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return self.row.key

    @property
    def vmi(self) -> Vmi | None:
        """The VMI; None if it no longer exists."""
        return next((part.vmi for part in self.row.parts if part is not None), None)

    def problems(self) -> Iterator[tuple[int, NameProblem]]:
        """Yield the names that are not in DNS as wanted, each with the number of its zone."""
        for zone, part in enumerate(self.row.parts):
            if part is not None:
                for problem in part.problems:
                    yield zone, problem

    def matches(self, words: Iterable[str]) -> bool:
        """Return whether each word is in the VM's name, a name it wants or an interface, or begins an address."""
        if self._search is None:
            self._search = self._texts()
        texts, addresses = self._search
        return all(word in texts or (_ADDRESS.match(word) and f"\n{word}" in addresses) for word in words)

    def has_cause(self, cause: str) -> bool:
        """Return whether this is one of the causes `state/code` of its states."""
        return bool(self.cause) and any(f"{STATES[int(rank)]}/{code}" == cause for rank, code in self._found())

    def _found(self) -> Iterator[tuple[str, str]]:
        """Yield the rank of each state of the VM, and the code of its cause."""
        for part in self.row.parts:
            if part is None:
                continue
            for problem in part.problems:
                yield _RANK[problem.state], code_of(problem)
            for _ in part.held:
                yield _RANK[State.HELD], "hold-down"
            for warning in part.warnings:
                yield _RANK[State.SKIPPED], warning.code.value
            if part.waits:
                yield _RANK[State.PENDING], "rate-limit"

    def _texts(self) -> tuple[str, str]:
        vmi = self.vmi
        if vmi is None:
            return self.key.lower(), ""
        wanted = [claim.node.name for part in self.row.parts if part is not None for claim in part.claims]
        texts = [self.key.lower(), *(interface.name.lower() for interface in vmi.interfaces)]
        if max(map(len, (*texts, *vmi.hostnames))) < _SHORT:
            texts.append(b"\xff".join(wanted).translate(_DOTS).decode("latin-1"))
        else:
            texts += map(names.to_text, wanted)
        addresses = [address_text(address) for interface in vmi.interfaces for address in interface.addresses]
        return "\n".join(texts), "\n".join(["", *addresses])


class Views:
    """The views of all rows; one is made again when its row has changed. Not thread-safe."""

    def __init__(self, index: VmIndex) -> None:
        self._index = index
        self._views: dict[str, VmView] = {}

    def all(self) -> list[VmView]:
        """Return the views of all VMs, in no order."""
        views = self._views
        rows = self._index.rows()
        for key, row in rows.items():
            view = views.get(key)
            if view is None or view.row is not row:
                views[key] = VmView(row)
        if len(views) > len(rows):
            for key in views.keys() - rows.keys():
                del views[key]
        return list(views.values())


def code_of(problem: NameProblem) -> str:
    """Return the code of the cause of a problem."""
    match problem.why:
        case Refusal() | Conflict():
            return problem.why.cause.value
        case _:
            return _CODES.get(problem.state, "waiting")

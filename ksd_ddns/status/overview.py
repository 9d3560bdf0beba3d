# SPDX-License-Identifier: Apache-2.0
"""The page for people, made from the rows of the VMs, the snapshots of the zones, and the query."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from ksd_ddns import __version__
from ksd_ddns.status import templating, texts
from ksd_ddns.status.about import About
from ksd_ddns.status.causes import VMS, Group, groups
from ksd_ddns.status.query import LIMITS, Link, Query
from ksd_ddns.status.templating import Clock, count, duration
from ksd_ddns.status.view import NOTHING, STATES, Views, VmView
from ksd_ddns.sync.snapshot import Part, ProblemCause, Snapshot
from ksd_ddns.sync.vm_index import AcceptedChange, NameProblem, VmIndex, ZoneTimes
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT
from ksd_ddns.wire.text import address_text, rdtype_text
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.ownership_record import owned
from ksd_ddns.zone.plan import Conflict, Kind
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.render import message
from ksd_ddns.zone.render.text import values

SAME_CAUSE = 3
"""Maximum VMs of one cause in the table of the overview; a link leads to the others."""

CAUSES = 15
"""Maximum causes on the page."""

ZONES = 50
"""Zones on the page that are not in sync; those in sync share a line if there are more than ZONES_IN_SYNC."""

ZONES_IN_SYNC = 5

LONGEST_KEY = 1_000
"""Characters of a VM in a link, and in a question about it."""

INTERFACES, ADDRESSES, REASONS = 6, 4, 3
"""Interfaces of a VM, addresses of an interface, and reasons of a VM in the table."""

Snapshots = Callable[[], tuple[Snapshot, ...]]

_SIGNS = {Kind.ADD: ("+", "add"), Kind.CHANGE: ("~", "chg"), Kind.DELETE: ("\N{MINUS SIGN}", "del")}
_TITLES = {NOTHING: "Nothing to publish"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """The state in one sentence: its `kind` colors the page, `word` begins the title of the window."""

    kind: str
    mark: str
    word: str
    text: str


class Overview:
    """Makes the page. Not thread-safe."""

    def __init__(self, snapshots: Snapshots, index: VmIndex, about: Callable[[], About]) -> None:
        self._snapshots = snapshots
        self._index = index
        self._about = about
        self._views = Views(index)

    def page(self, query: Query) -> bytes:
        """Return the page that `query` asks for; on a standby the full page, which says so, instead of a part."""
        snapshots, times, about = self._snapshots(), self._index.times(), self._about()
        views = self._views.all()
        shared = {"clock": Clock(), "query": query, "about": about, "version": __version__}
        counts = Counter(state for view in views for state in view.states)
        vms = _table(views, query, counts)
        if query.part and snapshots and not about.standby:
            return templating.render("vms.html", {**shared, **vms})
        found = groups(views, snapshots, times) if not query.chosen else []
        sentence = _sentence(snapshots, times, about, counts, len(views))
        changes = self._index.changes()
        return templating.render(
            "index.html",
            {
                **shared,
                **vms,
                "sentence": sentence,
                "zones": list(_zones(snapshots, times)),
                "in_dns": sum(each.names for each in times),
                "last": max((each.changed for each in times if each.changed is not None), default=None),
                "latency": next((each.latency for each in changes if each.latency is not None), None),
                "pending": sum(now.pending for now in snapshots),
                "unready": any(not now.ready for now in snapshots),
                "causes": [_cause(group, query) for group in found[:CAUSES]],
                "more_causes": max(0, len(found) - CAUSES),
                "changes": [_change(change) for change in changes[: query.changes]],
                "more_changes": len(changes) > query.changes,
            },
        )


def _sentence(  # noqa: PLR0911 one for each state
    snapshots: Sequence[Snapshot], times: Sequence[ZoneTimes], about: About, counts: Counter[str], vms: int
) -> Sentence:
    """Return the overall state in one sentence."""
    if about.standby or not snapshots:
        return Sentence("empty", "none", "Standby", "Standby: this replica does nothing until it becomes the leader")
    problems = [problem for now in snapshots if not now.optional for problem in now.problems]
    wrong = dict.fromkeys(problem.part for problem in problems if problem.cause is not ProblemCause.FIRST_SYNC)
    if wrong:
        reasons = " and ".join(texts.NOT_READY[part] for part in Part if part in wrong)
        return Sentence("not-ready", "bad", "Not ready", f"Not ready: {reasons}")
    if problems:
        records = sum(each.records for each in times)
        far = f": {count(records, 'record')} so far" if records else ""
        several = "zones" if len(snapshots) > 1 else "zone"
        return Sentence("empty", "none", "Starting", f"Reading the {several} and the VMs{far}")
    refused = sum(each.count for now in snapshots for each in now.refused)
    conflicts = sum(len(now.conflicts) for now in snapshots)
    found = [count(refused, "name") + " refused"] if refused else []
    unsynced = sum(now.optional and not now.ready for now in snapshots)
    found += [count(unsynced, "reverse zone") + " not in sync"] if unsynced else []
    found += [count(conflicts, "conflict")] if conflicts else []
    if found:
        return Sentence("degraded", "warn", "Degraded", ", ".join(found))
    if not vms:
        return Sentence("empty", "none", "No VMs", "No VMs to publish yet")
    pending = sum(now.pending for now in snapshots)
    if pending or counts[State.PENDING]:
        waiting = f"{count(pending or counts[State.PENDING], 'change')} on the way"
        return Sentence("healthy", "ok", "In sync", f"In sync, {waiting}")
    if not sum(each.names for each in times):
        return Sentence("empty", "none", "No names", "No VM has a name to publish yet")
    return Sentence("healthy", "ok", "In sync", "Every name is in DNS")


def _zones(snapshots: Sequence[Snapshot], times: Sequence[ZoneTimes]) -> Iterator[dict[str, object]]:
    """Yield a line for each zone, those with problems first; many zones in sync share a line."""
    numbered = sorted(enumerate(snapshots), key=lambda item: (item[1].ready, not _degraded(item[1]), item[0]))
    calm = [number for number, now in numbered if now.ready and not _degraded(now)]
    share = len(snapshots) > ZONES_IN_SYNC and len(calm) > 1
    shown = [(number, now) for number, now in numbered if not (share and number in set(calm))]
    for number, now in shown[:ZONES]:
        yield {"more": "", "now": now, "times": times[number] if number < len(times) else ZoneTimes(), **_zone(now)}
    if len(shown) > ZONES:
        yield {"more": f"{count(len(shown) - ZONES, 'more zone')} with problems", "names": 0}
    if share:
        synced = sum(times[number].names for number in calm if number < len(times))
        yield {"more": f"{count(len(calm), 'zone')} in sync", "names": synced}


def _degraded(now: Snapshot) -> bool:
    return bool(now.refused or now.conflicts)


def _zone(now: Snapshot) -> dict[str, object]:
    """Return mark, word and text of a zone."""
    waiting = [f"{count(now.pending, 'change')} waiting"] if now.pending else []
    waiting += [f"{count(now.blocked, 'deletion')} blocked"] if now.blocked else []
    rest = f"{', '.join(waiting)}." if waiting else ""
    causes = [problem for problem in now.problems if problem.cause is not ProblemCause.FIRST_SYNC]
    if causes:
        reasons = " and ".join(texts.NOT_READY[problem.part] for problem in causes)
        return {"mark": "bad", "word": "Not ready:", "text": f"{reasons}. {rest}"}
    if now.problems:
        return {"mark": "none", "word": "Reading:", "text": f"{texts.NOT_READY[Part.SYNC]}. {rest}"}
    if _degraded(now):
        refused = sum(each.count for each in now.refused)
        found = [f"{count(refused, 'name')} refused"] if refused else []
        found += [count(len(now.conflicts), "conflict")] if now.conflicts else []
        return {"mark": "warn", "word": "Degraded:", "text": f"{', '.join(found)}, the rest in sync. {rest}"}
    return {"mark": "ok", "word": "In sync.", "text": rest}


def _cause(group: Group, query: Query) -> dict[str, object]:
    """Return a cause with links to its VMs."""
    return {"group": group, "vms": list(group.vms)[:VMS], "link": query.link(cause=group.cause, page=1)}


def explain_link(vmi: str) -> Link:
    """Return the link that explains a VM. Files may hold names that are longer than any that can be explained."""
    return Link(f"explain?{urlencode({'vmi': vmi[:LONGEST_KEY]}, errors='replace')}")


def _table(views: Sequence[VmView], query: Query, counts: Counter[str]) -> dict[str, object]:
    """Return one page of the table of VMs, and how many VMs have each state."""
    found = views
    if query.state:
        found = [view for view in found if query.state in view.states]
    if query.cause:
        found = [view for view in found if view.has_cause(query.cause)]
    if words := query.words:
        found = [view for view in found if view.matches(words)]
    entries: list[VmView | tuple[str, int]] = [*_ordered(found, query)]
    if query.overview:
        entries = list(_collapsed(entries))
    pages = max(1, -(-len(entries) // query.limit))
    page = min(query.page, pages)
    first = (page - 1) * query.limit
    return {
        "counts": {state: counts[state] for state in STATES},
        "titles": {state: _TITLES.get(state, state.capitalize()) for state in STATES},
        "total": len(views),
        "found": len(found),
        "rows": [_row(entry, query) for entry in entries[first : first + query.limit]],
        "first": first + 1,
        "until": min(first + query.limit, len(entries)),
        "entries": len(entries),
        "page": page,
        "pages": pages,
        "limits": LIMITS,
        "explain_link": explain_link,
    }


def _ordered(views: Sequence[VmView], query: Query) -> list[VmView]:
    key = query.order.removeprefix("-")
    descending = query.order.startswith("-")
    if key == "vm":
        return sorted(views, key=lambda view: view.key, reverse=descending)
    by_order = sorted(views, key=lambda view: view.order, reverse=descending and key == "state")
    if key == "names":
        return sorted(by_order, key=lambda view: view.in_dns, reverse=descending)
    if key == "changed":
        # The latest first: most people look for a recent change.
        return sorted(by_order, key=lambda view: view.changed or 0.0, reverse=not descending)
    return by_order


def _collapsed(views: Sequence[VmView | tuple[str, int]]) -> Iterator[VmView | tuple[str, int]]:
    """Yield the first VMs of each cause, then the number of the others, so that no cause fills the page."""
    cause, seen = "", 0
    for view in views:
        if not isinstance(view, VmView):
            continue
        if view.cause != cause:
            if seen > SAME_CAUSE:
                yield cause, seen - SAME_CAUSE
            cause, seen = view.cause, 0
        seen += 1
        if not cause or seen <= SAME_CAUSE:
            yield view
    if cause and seen > SAME_CAUSE:
        yield cause, seen - SAME_CAUSE


def _row(entry: VmView | tuple[str, int], query: Query) -> dict[str, object]:
    if not isinstance(entry, VmView):
        cause, more = entry
        state = cause.partition("/")[0]
        return {
            "more": f"{count(more, 'more VM')} {_TITLES.get(state, state)} for this cause",
            "link": query.link(cause=cause),
        }
    vmi = entry.vmi
    interfaces = vmi.interfaces if vmi is not None else ()
    return {
        "more": "",
        "view": entry,
        "interfaces": [
            (
                each.name,
                " ".join(map(address_text, each.addresses[:ADDRESSES])),
                max(0, len(each.addresses) - ADDRESSES),
            )
            for each in interfaces[:INTERFACES]
        ],
        "more_interfaces": max(0, len(interfaces) - INTERFACES),
        "reasons": _reasons(entry),
        "held": [held for part in entry.row.parts[:1] if part is not None for held in part.held],
    }


def _reasons(view: VmView) -> list[str]:
    """Return the reasons why some names are not published, as clauses."""
    found: list[str] = []
    waiting = 0
    for _, problem in view.problems():
        if problem.state is State.PENDING:
            waiting += 1
        elif len(found) <= REASONS:
            found.append(_reason(problem))
    if waiting:
        found.append(f"{count(waiting, 'name')} {'waits' if waiting == 1 else 'wait'} to be sent")
    for part in view.row.parts[:1]:
        if part is not None:
            found += [message.warning(warning) for warning in part.warnings[: REASONS + 1]]
            found += ["changes too often, its last change waits"] if part.waits else []
            found += [message.unpublished(part.unpublished)] if part.unpublished and not part.warnings else []
    found = list(dict.fromkeys(found))
    return [*found[:REASONS], "..."] if len(found) > REASONS else found


def _reason(problem: NameProblem) -> str:
    name = names.to_text(problem.name)
    match problem.why:
        case Refusal() if problem.why.cause is Cause.HOST_NAME:
            return f"{name} is not a host name"
        case Refusal():
            return f"{name} is refused ({problem.why.cause})"
        case Conflict():
            return f"{name}: {message.conflict(problem.why)}"
        case _ if problem.state is State.SKIPPED:
            return f"not ready for {name}"
        case _:
            return f"the deletion of {name} is blocked"


def _change(of: AcceptedChange) -> dict[str, object]:
    """Return a change: sign, VM, what has changed, and how long it took."""
    record = None if of.vmi else owned(of.change.old.get(TXT), of.owner)
    vmi = of.vmi or (record.vmi if record else "")
    differing = [pair for pair in of.change.rrsets() if any(each and each.type != TXT for each in pair)]
    lines = []
    for old, new in differing or [*of.change.rrsets()][:1]:
        item = new or old
        if item is None:
            continue
        ttl = f"TTL {old.ttl} \N{RIGHTWARDS ARROW} TTL {new.ttl}" if old and new and old.rdatas == new.rdatas else ""
        lines.append((rdtype_text(item.type), values(old) if old else "", ttl or (values(new) if new else "")))
    sign, kind = _SIGNS[of.change.kind]
    return {
        "at": of.at,
        "vmi": vmi,
        "name": names.to_text(of.change.name),
        "sign": sign,
        "kind": kind,
        "word": of.change.kind.value,
        "lines": lines,
        "latency": None if of.latency is None else duration(of.latency),
    }

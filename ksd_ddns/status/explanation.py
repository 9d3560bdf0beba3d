# SPDX-License-Identifier: Apache-2.0
"""`/explain` as a page for people, from the same document that programs get as JSON."""

import shlex
from collections.abc import Iterator

from ksd_ddns import __version__
from ksd_ddns.status import templating
from ksd_ddns.status.about import About
from ksd_ddns.status.overview import Sentence, explain_link
from ksd_ddns.status.query import Query
from ksd_ddns.status.templating import Clock, count, short
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.render.explained import Document, Name, Vmi, names_alike

MOST = 100
"""Interfaces, addresses of an interface, and names of a zone on the page."""

_MARKS = {
    State.PENDING: "waiting",
    State.MISSING: "warn",
    State.LEFTOVER: "warn",
    State.FOREIGN: "none",
    State.UNUSED: "none",
    State.UNKNOWN: "none",
}
"""The marks of states that the table of VMs does not have."""


def page(document: Document, about: About) -> bytes:
    """Return the page of an explanation."""
    found = document.vmi.vmi if document.vmi is not None else document.asked
    problems = [*document.problems, *(f"zone {zone.zone}: {zone.problem}" for zone in document.zones if zone.problem)]
    values = {
        "clock": Clock(),
        "query": Query(),
        "about": about,
        "version": __version__,
        "sentence": _sentence(document),
        "lines": list(_lines(document)),
        "problems": problems,
        "by_zone": _by_zone(document),
        "document": document,
        "now": document.time,
        "marks": {state.value: mark for state, mark in _MARKS.items()},
        "most": MOST,
        "origins": {"interface": "an interface", "annotation": "its annotation", "group": "its group"},
        "command": shlex.quote(found),
        "explain_link": explain_link,
        "names_alike": names_alike,
    }
    return templating.render("explain.html", values)


def _by_zone(document: Document) -> list[tuple[str, list[Name]]]:
    """Return the names by zone, in the order of the document: the main zone first."""
    names = document.vmi.names if document.vmi is not None else [document.name] if document.name is not None else []
    zones = dict.fromkeys([*(zone.zone for zone in document.zones), *(name.zone for name in names)])
    found = [(zone, [name for name in names if name.zone == zone]) for zone in zones]
    return [(zone, items) for zone, items in found if items]


def _sentence(document: Document) -> Sentence:
    kind, mark = ("healthy", "ok") if document.complete else ("degraded", "warn")
    vmi = document.vmi
    if vmi is None:
        if document.name is None:
            return Sentence("empty", "none", "Not ours", f"{document.asked} is not in a zone that ksd-ddns manages")
        text = f"{document.asked}: {document.name.state.value}"
        return Sentence(kind, mark, document.name.state.value.capitalize(), text)
    if not vmi.exists:
        return Sentence("empty", "none", "No such VM", f"There is no VM {vmi.vmi}: is it running?")
    there = sum(name.state.in_dns for name in vmi.names)
    if not vmi.names:
        return Sentence("empty", "none", vmi.vmi, f"{vmi.vmi}: no names in DNS")
    be = "is" if len(vmi.names) == 1 else "are"
    return Sentence(kind, mark, vmi.vmi, f"{vmi.vmi}: {there} of {count(len(vmi.names), 'name')} {be} in DNS")


def _lines(document: Document) -> Iterator[str]:
    vmi = document.vmi
    if vmi is None:
        return
    if not vmi.exists:
        yield "A stopped VM has no name in DNS."
        yield "These names remain:" if vmi.names else "None of its names remain."
        return
    yield from _facts(vmi)
    if vmi.message:
        yield f"Nothing is published: {vmi.message}."
        if vmi.fix:
            yield f"Fix: {vmi.fix}"
    if vmi.slowed_until:
        yield f"The VM changes too often. Its latest state is published at {short(vmi.slowed_until, document.time)}."
    elif not vmi.known:
        yield "The controller has not received the latest state of this VM yet."
    if vmi.unread:
        yield f"The VM cannot be read: {vmi.unread}. The rest is the last known state."


def _facts(vmi: Vmi) -> Iterator[str]:
    found = [vmi.phase] if vmi.phase else []
    found += [f"created {vmi.created}"] if vmi.created else []
    found += [f"TTL {vmi.ttl} s"] if vmi.ttl is not None else []
    if found:
        yield ", ".join(found)

# SPDX-License-Identifier: Apache-2.0
"""Text -> the VMI or name that a question is about."""

from collections.abc import Sequence

from ksd_ddns.kubevirt.addresses import packed
from ksd_ddns.wire import names
from ksd_ddns.zone.explain.model import NameAnswer

_REVERSE = (names.from_text("in-addr.arpa."), names.from_text("ip6.arpa."))


def name_of(text: str, base: bytes) -> bytes:
    """Return the owner name that `text` means: absolute with a final dot, else below `base`.

    An IP address means its reverse name. Reverse names, and names that end with the labels of the base, are absolute
    without the dot. Raises ValueError with the cause.
    """
    if not text:
        raise ValueError("an empty name: write a VM (prod/db), a name (web.prod) or an address")
    address = packed(text)
    if address is not None:
        return names.reverse(address)
    name = names.from_text(text)
    if text.endswith(".") or any(names.is_below(name, top) for top in (base, *_REVERSE)):
        return name
    return names.from_labels([*names.labels(name), *names.labels(base)])


def is_vmi(text: str) -> bool:
    """Return whether `text` means a VMI, `namespace/name`, not a name.

    Only a name ends with a dot; it may contain a slash (RFC 2317).
    """
    return "/" in text and not text.endswith(".")


def is_vmi_key(text: str) -> bool:
    """Return whether `text` is `namespace/name`, as an API server could have it."""
    namespace, _, name = text.partition("/")
    return bool(namespace and name) and "/" not in name and text.isascii() and text.isprintable() and " " not in text


def best(answers: Sequence[NameAnswer]) -> NameAnswer:
    """Return the answer of the zone that holds the name, with the facts of all zones."""
    zones = tuple(fact for answer in answers for fact in answer.zones)
    found = [answer for answer in answers if answer.explanation is not None]
    first = max(found, key=_nearness, default=answers[0])
    problems = tuple(dict.fromkeys(problem for answer in answers for problem in answer.source_problems))
    shown = first.zones if first.explanation is not None else zones
    return NameAnswer(
        name=first.name,
        now=first.now,
        explanation=first.explanation,
        zones=shown,
        source_problems=problems,
        similar=first.similar,
        wildcard=first.wildcard,
    )


def _nearness(answer: NameAnswer) -> tuple[bool, bool, int]:
    """Sort key: of several zones, or several bases in one zone, the one closest to the name comes last.

    A zone where the name is wanted comes after all others: the PTR of an address may be in any zone (RFC 2317).
    """
    base = answer.zones[0].base
    wanted = answer.explanation is not None and bool(answer.explanation.claims)
    return wanted, names.is_below(answer.name, base), len(base)

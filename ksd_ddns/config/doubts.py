# SPDX-License-Identifier: Apache-2.0
"""Settings that are allowed but probably wrong, as data: each command shows them in its own way."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ksd_ddns.config.given import Given, fields
from ksd_ddns.config.settings import Settings
from ksd_ddns.primary.files import exposure
from ksd_ddns.wire import names

_VM = b"vm"

# Kubernetes sets these for each Service of a namespace.
_OF_SERVICE = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)\Z")


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that is probably wrong: what it is about, the problem, and the remedy."""

    subject: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}; {self.remedy}"


def doubts(chosen: Settings, given: Given) -> Iterator[Doubt]:
    """Yield what is probably wrong with the settings `chosen` from what is `given`; values are never shown."""
    for variable, meant in misspelled(name for name, value in given.environment.items() if value.strip()):
        yield Doubt(variable, "this variable is not used", f"if {meant} is meant, correct it")
    if names.labels(chosen.domain)[:1] == [_VM]:
        rest = names.to_text(chosen.domain[len(_VM) + 1 :]).rstrip(".")
        yield Doubt(
            "DOMAIN",
            f"it begins with vm., which is added to it: names are published below {names.to_text(chosen.base)}",
            f"if {names.to_text(chosen.domain)} is meant, set DOMAIN={rest}",
        )
    if given.path is not None and (who := _exposed_secrets(given, given.path)):
        yield Doubt(str(given.path), f"it holds a secret, and {who}", f"chmod 600 {given.path}")


def _exposed_secrets(given: Given, path: Path) -> str:
    """Return who else can read the secrets in the settings file, empty if no one else can, or there are none."""
    return exposure(path) if any(name.endswith("_secret") for name in given.in_file) else ""


def misspelled(environment: Iterable[str]) -> list[tuple[str, str]]:
    """Return the unknown variables that look like a setting, each with the setting probably meant.

    Only those that differ in a letter or two, or have our name as a prefix, are returned.
    """
    ours = [name.upper() for name in fields()]
    found = []
    for variable in sorted(environment):
        name = variable.upper()
        if name in ours or _OF_SERVICE.match(name):
            continue
        plain = re.sub(r"\AKSD_(DDNS_)?", "", name)
        meant = "" if plain == name else plain
        near = difflib.get_close_matches(plain, ours, n=1, cutoff=0.9)
        if meant in ours or near:
            found.append((variable, meant if meant in ours else near[0]))
    return found

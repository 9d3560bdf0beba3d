# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns check`: settings -> checks, and findings -> lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from rich.console import Console
from rich.text import Text

from ksd_ddns import check as checking
from ksd_ddns.check import Finding, Setup, Sign
from ksd_ddns.cli import options, output, reverse_zones, sources
from ksd_ddns.config import loading, primary, zones
from ksd_ddns.config.doubts import doubts
from ksd_ddns.config.given import Given, given
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import KsdError, SettingsError, WrongSettings
from ksd_ddns.kubevirt import selector
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.files import exposure, in_kubernetes_volume
from ksd_ddns.primary.keys import WEAK_ALGORITHMS
from ksd_ddns.primary.session import Peer
from ksd_ddns.printable import printable
from ksd_ddns.sync.zone_sync import no_progress
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import ReverseZone, Rules
from ksd_ddns.zone.plan import Scope
from ksd_ddns.zone.reverse_search import ReverseSearch

_STYLES = {Sign.OK: "green", Sign.WARN: "yellow", Sign.FAIL: "bold red", Sign.SKIPPED: "dim"}
_SIGNS = {Sign.OK: "ok", Sign.WARN: "warn", Sign.FAIL: "FAIL", Sign.SKIPPED: "-"}
_INDENT = " " * 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `check`."""

    source: tuple[str, ...] = options.source_flag()
    output: str = options.output_flag("text", "json")


def main(asked: Options) -> int:
    """Print the result of every check; change nothing."""
    found = []
    for finding in _findings(asked):
        found.append(finding)
        if asked.output == "text":
            _print(finding)
    failures = sum(1 for finding in found if finding.sign is Sign.FAIL)
    if asked.output == "json":
        report = {"findings": found, "failed": failures}
        output.document(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        warnings = sum(1 for finding in found if finding.sign is Sign.WARN)
        output.line(f"Check: {failures} failed, {warnings} to look at, {len(found)} in all.")
    return int(failures > 0)


def _findings(asked: Options) -> Iterator[Finding]:
    try:
        raw = given(asked.flags, asked.config)
        chosen = loading.load(raw)
    except SettingsError as e:
        for text in e.errors if isinstance(e, WrongSettings) else (str(e),):
            yield checking.failed("settings", "", SettingsError(text))
        yield checking.skipped("everything else", "")
        return
    if asked.verbose:
        for origin in loading.origins(raw):
            yield checking.ok("setting", origin.name, f"{origin.shown} ({origin.place})")
        yield checking.ok("setting", "all others", "the defaults")
    about = f"names below {names.to_text(chosen.base)}, ownership {chosen.ownership.value}"
    reverse = f", PTR below {', '.join(_reverse_zones(chosen))}" if any(chosen.reverse_zones) else ""
    yield checking.ok("settings", "", about + reverse)
    yield from _doubtful(chosen, raw)
    peers: tuple[Peer, ...] = ()
    try:
        peers = primary.peers(chosen)
    except KsdError as e:
        yield checking.failed("keys", "", e)
    yield from _weak(chosen, peers)
    yield from checking.findings(_setup(chosen, peers, asked.source))
    if not peers:
        yield checking.skipped("servers and zones", "")


def _reverse_zones(chosen: Settings) -> Iterator[str]:
    """Yield the reverse zones, as text."""
    yield from map(names.to_text, zones.reverse_bases(chosen))
    if chosen.reverse_zones.auto:
        yield "the reverse zones that the primary has (auto)"


def _doubtful(chosen: Settings, raw: Given) -> Iterator[Finding]:
    """Yield settings that are allowed, but probably wrong."""
    for doubt in doubts(chosen, raw):
        yield checking.warning("settings", doubt.subject, doubt.problem, doubt.remedy)
    for file in primary.secret_files(chosen):
        if who := exposure(file):
            fix = "set defaultMode: 0440 in the volume" if in_kubernetes_volume(file) else f"chmod 600 {file}"
            yield checking.warning("key file", str(file), who, fix)


def _weak(chosen: Settings, peers: tuple[Peer, ...]) -> Iterator[Finding]:
    """Yield which keys are weak."""
    keys = (
        {(key.name, key.algorithm) for key in (source.latest() for source in primary.shared_keys(chosen))}
        if peers
        else ()
    )
    for name, algorithm in sorted(keys):
        if algorithm in WEAK_ALGORITHMS:
            fix = f"make a new key, here and on the server: tsig-keygen -a hmac-sha256 {name}"
            yield checking.warning("key", name, f"{algorithm} is weak", fix)


class _Chosen:
    """The settings, with the owner ID once it was looked up."""

    def __init__(self, chosen: Settings, paths: Sequence[str]) -> None:
        self._chosen = chosen
        self._paths = paths

    def owner(self) -> str:
        self._chosen = sources.owning(self._chosen, self._paths)
        return self._chosen.owner

    def reverse_search(self) -> ReverseSearch | None:
        return reverse_zones.search(self._chosen) if self._chosen.reverse_zones.auto else None

    def add_reverse_zones(self, found: tuple[ReverseZone, ...]) -> Sequence[bytes]:
        self._chosen = zones.with_reverse_zones(self._chosen, found)
        return zones.bases(self._chosen)

    def rules(self, zone: bytes, base: bytes) -> Rules:
        return zones.rules(self._chosen, zone, base)

    def scope(self, rules: Rules) -> Scope:
        return zones.scope(self._chosen, rules)

    def every_vmi(self) -> tuple[Vmi, ...]:
        everything = self._chosen.model_copy(update={"namespaces": frozenset(), "label_selector": selector.EVERYTHING})
        return sources.vmis(everything, self._paths, no_progress)

    def vmis(self) -> tuple[Vmi, ...]:
        return sources.vmis(self._chosen, self._paths, no_progress)


def _setup(chosen: Settings, peers: tuple[Peer, ...], paths: Sequence[str]) -> Setup:
    asked = _Chosen(chosen, paths)
    return Setup(
        peers=peers,
        timeout=chosen.dns_timeout,
        bases=zones.bases(chosen),
        zone=chosen.zone,
        vmis=asked.vmis,
        every_vmi=asked.every_vmi,
        selector=str(chosen.label_selector),
        owner=asked.owner,
        rules=asked.rules,
        reverse_search=asked.reverse_search(),
        add_reverse_zones=asked.add_reverse_zones,
        scope=asked.scope,
        namespaces=chosen.namespaces,
        name_server=bool(chosen.name_server_ip),
        max_delete_percent=chosen.max_delete_percent,
    )


def _print(finding: Finding) -> None:
    first, *others = ((printable(line), style) for line, style in _lines(finding))
    if not output.is_terminal():
        output.lines(line for line, _ in (first, *others))
        output.flush()
        return
    with output.stdout() as stream:
        console = Console(file=stream, highlight=False, soft_wrap=True)
        sign, style = f"{_SIGNS[finding.sign]:<4}", _STYLES[finding.sign]
        console.print(Text(sign, style=style) + Text(first[0][len(sign) :]))
        for line, style in others:
            console.print(Text(line, style=style))


def _lines(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield the lines of a finding, each with its style."""
    subject = f" {finding.subject}" if finding.subject else ""
    yield f"{_SIGNS[finding.sign]:<4}  {finding.what}{subject}: {finding.text}", ""
    if finding.fix:
        yield f"{_INDENT}=> {finding.fix}", ""
    for stanza in finding.stanzas:
        place = f", {stanza.place}" if stanza.place else ""
        yield f"{_INDENT}{stanza.server}{place}:", "dim"
        for line in stanza.text.splitlines():
            yield f"{_INDENT}    {line}", "dim"

# SPDX-License-Identifier: Apache-2.0
"""Applies the statements that `ksd-ddns check` prints to their server, as its admin would."""

import shlex

from harness.servers import Bind, Knot, PowerDns, Server


def apply(server: Server, stanzas: list[dict[str, str]], *, secret: str = "") -> None:
    """Add those of `stanzas` that are for `server` to its configuration, and reload it.

    `secret` replaces SECRET.
    """
    names: dict[str, type[Server]] = {"BIND": Bind, "Knot": Knot, "PowerDNS": PowerDns}
    mine = [
        (stanza["place"], stanza["text"].replace("SECRET", secret))
        for stanza in stanzas
        if type(server) is names.get(stanza["server"])
    ]
    assert mine, f"nothing for {server}"
    for place, text in mine:
        if isinstance(server, Bind):
            _bind(server, place, text)
        elif isinstance(server, Knot):
            _knot(server, text)
        elif isinstance(server, PowerDns):
            for line in text.splitlines():
                command, *arguments = shlex.split(line)
                assert command == "pdnsutil"
                server.pdnsutil(*arguments)
    server.reload()


def _bind(server: Bind, place: str, text: str) -> None:
    """Add a clause to the file, or a statement to its zone, where it is joined with the one that is there."""
    lines = server.configuration.read_text().splitlines()
    if not place.startswith("in zone "):
        lines.insert(0, text)
    else:
        name = place.removeprefix("in zone ").partition(",")[0].strip('"')
        (index,) = (i for i, line in enumerate(lines) if line.startswith(f'zone "{name}." {{'))
        statement, _, inside = text.partition(" {")
        if f"{statement} {{" in lines[index]:
            more = " ".join(inside.rpartition("}")[0].split())
            lines[index] = lines[index].replace(f"{statement} {{", f"{statement} {{ {more}", 1)
        else:
            lines[index] = lines[index].replace("type primary;", f"type primary; {' '.join(text.split())}", 1)
    server.configuration.write_text("\n".join(lines) + "\n")


def _knot(server: Knot, text: str) -> None:
    """Add the entries of each section to the section that is there."""
    configuration = server.configuration.read_text()
    sections: dict[str, list[str]] = {}
    head = ""
    for line in text.splitlines():
        if not line.startswith(" "):
            head = line
        else:
            sections.setdefault(head, []).append(line + "\n")
    for head, lines in sections.items():
        if head == "zone:":
            domain, rules = lines
            added = rules.strip().removeprefix("acl: [").removesuffix("]")
            before, after = configuration.split(domain, 1)
            there, rest = after.split("    acl: ", 1)
            first, rest = rest.split("\n", 1)
            configuration = f"{before}{domain}{there}    acl: [{first.strip('[]')}, {added}]\n{rest}"
        else:
            configuration = configuration.replace(f"\n{head}\n", f"\n{head}\n{''.join(lines)}", 1)
    server.configuration.write_text(configuration)

# SPDX-License-Identifier: Apache-2.0
"""The tutorial and the how-to pages with a primary of their own: its configuration is used, the commands are run."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.kerberos import Realm
from harness.servers import PATH, Bind, Key, Port
from tests import examples, tutorial

HOW_TO = examples.ROOT / "docs" / "how-to"
HOST = "ns1.example.com"


def scripts(text: str) -> list[str]:
    """Return the shell blocks without a file name: the steps before the server exists."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def file(text: str, name: str) -> str:
    """Return the block that is the file `name`."""
    found = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def shell(script: str, directory: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": PATH, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def compare(text: str, server: Bind, directory: Path, replaced: dict[str, str]) -> None:
    printed = examples.run_page(text, server, directory, replaced=replaced)
    assert examples.comparable(printed) == examples.comparable(text)


def test_the_tutorial_works() -> None:
    text = tutorial.PAGE.read_text(encoding="utf-8")
    printed = tutorial.run_page(text)
    assert examples.comparable(printed) == examples.comparable(text), "python -m tests.tutorial"


@pytest.mark.parametrize("mutual", [False, True], ids=["", "mutual"])
def test_the_tls_page_works(tmp_path: Path, mutual: bool) -> None:
    text = (HOW_TO / "tls.md").read_text(encoding="utf-8")
    for script in scripts(text):
        shell(script, tmp_path)
    port = Port.reserve()
    statement = file(text, "mutual.conf" if mutual else "tls.conf").replace("/etc/bind/tls", str(tmp_path))
    with Bind(
        zones={"vm.": ""},
        keys=[Key("ksd-ddns.")],
        extra=statement,
        options=file(text, "options.conf").replace("853", str(port.number)).replace("any;", "127.0.0.1;"),
        zone_options=file(text, "zone.conf"),
    ) as bind:
        # With a server that requires a client certificate, only the command with one works.
        (tmp_path / "settings-mutual").write_text(file(text, "settings-mutual"))
        text = text.replace(". ./settings;", ". ./settings-mutual;") if mutual else text
        compare(
            text,
            bind,
            tmp_path,
            {f"{HOST}:853": f"127.0.0.1:{port.number}\nexport DNS_TLS_HOSTNAME={HOST}"},
        )
    port.release()


def test_the_active_directory_page_works(tmp_path: Path) -> None:
    text = (HOW_TO / "active-directory.md").read_text(encoding="utf-8")
    with Realm("EXAMPLE.COM") as realm:
        for script in scripts(text):
            shell(script, tmp_path, realm.environment)
        with Bind(
            zones={"vm.": ""},
            options=file(text, "options.conf").replace("/etc/bind", str(tmp_path)),
            zone_options=file(text, "zone.conf"),
            environment={"KRB5_CONFIG": str(realm.config), "KRB5RCACHENAME": "none:"},
        ) as bind:
            compare(
                text,
                bind,
                tmp_path,
                {
                    f"{HOST}:53": f"127.0.0.1:{bind.port}\nexport GSS_TSIG_HOSTNAME={HOST}",
                    "kdc = kdc.example.com": f"kdc = 127.0.0.1:{realm.port}",
                },
            )


FOREIGN = (
    "Hostname mismatch", "certificate has expired", "unable to get local issuer certificate",
    "No Kerberos credentials available", "The referenced credential has expired",
    "Cannot contact any KDC for realm", "Client '", "Server ", "' not found in Kerberos database",
    "not found in Kerberos database",
)  # fmt: skip
"""Messages of OpenSSL and MIT Kerberos. Tests in tests/primary provoke them."""


@pytest.mark.parametrize("page", ["active-directory", "tls", "troubleshooting"])
def test_quoted_messages_exist_in_the_code(page: str) -> None:
    text = (HOW_TO / f"{page}.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((examples.ROOT / "ksd_ddns").rglob("*.py")))
    joined = re.sub(r"[\"']\s*\n\s*f?[\"']", "", source)  # strings that continue on the next line
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    assert messages
    for message in messages:
        for piece in filter(None, (part.strip(" :(") for part in message.split("…"))):
            assert piece.strip(" :") in joined or any(piece in foreign or foreign in piece for foreign in FOREIGN), (
                piece
            )

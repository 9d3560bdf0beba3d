# SPDX-License-Identifier: Apache-2.0
"""The documentation matches the code, where they can be compared."""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from harness.servers import Bind
from ksd_ddns.cli import arguments
from ksd_ddns.cli.arguments import COMMANDS
from ksd_ddns.config.settings import Settings, flag_of
from ksd_ddns.errors import BadResponse, Denied, KsdError, SettingsError, SourceError, Unreachable, ZoneChanged
from ksd_ddns.zone.plan.conflict import ConflictCause
from ksd_ddns.zone.reconciler.refusals import Cause as RefusalCause
from tests import examples

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
COMMAND_LINE = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
ERRORS = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")

every_page = pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])


def test_settings_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run make reference"


def test_metrics_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "metrics_reference.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run make reference"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem)
        for page in PAGES
        if examples.has_examples(page) and page.stem not in examples.SPECIAL
    ],
)
def test_examples_print_what_the_page_shows(page: Path, bind: Bind, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    printed = examples.run_page(text, bind, tmp_path)
    assert examples.comparable(printed) == examples.comparable(text), f"python -m tests.examples {page}"


def test_json_page_names_every_field() -> None:
    page = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    source = (ROOT / "ksd_ddns" / "zone" / "render" / "document.py").read_text(encoding="utf-8")
    fields = set(re.findall(r'"(\w+)":', source))
    assert len(fields) > 20
    code = re.findall(r"(?<!`)`[^`\n]+`(?!`)|^\{.*\}$", page, re.MULTILINE)
    assert fields <= set(re.findall(r"\w+", " ".join(code)))


def test_json_page_names_every_cause() -> None:
    page = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| cause | meaning |")
    assert re.findall(r"^\| `([\w-]+)` \|", table.partition("## ")[0], re.MULTILINE) == list(ConflictCause)
    _, _, refusal = page.partition("## Refusal")
    assert set(re.findall(r"`([\w-]+)`", refusal.partition("`count`")[0])) - {"cause"} == set(RefusalCause)


def test_index_links_to_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", index))
    assert linked == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        pytest.param("```yaml vmis.yaml\n", '```yaml title="vmis.yaml"\n', id="file-name"),
        pytest.param("```console\n", "```console\n", id="no-file-name"),
        pytest.param("[a](../../examples/vm.yaml)", "a", id="outside"),
        pytest.param("[a](../reference/json.md#b)", "[a](../reference/json.md#b)", id="inside"),
    ],
)
def test_site_shows(markdown: str, shown: str) -> None:
    hooks = runpy.run_path(str(ROOT / "scripts" / "site_hooks.py"))
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/page.md"))
    assert hooks["on_page_markdown"](markdown, page=page, config=None, files=None) == shown


@pytest.mark.parametrize(
    ("output", "warnings"),
    [
        pytest.param('<script src="https://example.com/a.js"></script>', 1, id="script"),
        pytest.param('<link rel="stylesheet" href="//example.com/a.css">', 1, id="style"),
        pytest.param(
            '<script src="../a.js"></script> <a href="https://example.com/">a</a>', 0, id="link-and-own-script"
        ),
    ],
)
def test_site_warns_of_other_hosts(output: str, warnings: int, caplog: pytest.LogCaptureFixture) -> None:
    hooks = runpy.run_path(str(ROOT / "scripts" / "site_hooks.py"))
    hooks["on_post_page"](output, page=SimpleNamespace(file=SimpleNamespace(src_uri="page.md")), config=None)
    assert len(caplog.records) == warnings


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("It deletes the records that are no longer wanted.\n", 0, id="plain"),
        pytest.param("what nobody has\n", 1, id="word"),
        pytest.param("Told by the server\n", 1, id="upper-case"),
        pytest.param('"kept_back": []\n', 1, id="identifier"),
        pytest.param("Troubleshooting, remarkable, storyteller\n", 0, id="part-of-a-word"),
    ],
)
def test_word_list_finds_words(line: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(line, encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "words"), str(tmp_path)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == code


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


EXTERNAL_DNS = {
    "--source", "--fqdn-template", "--target-template", "--namespace", "--label-filter", "--domain-filter",
    "--target-net-filter", "--exclude-target-net", "--rfc2136-host", "--rfc2136-port",
    "--rfc2136-load-balancing-strategy", "--rfc2136-zone", "--rfc2136-tsig-keyname", "--rfc2136-tsig-secret",
    "--rfc2136-tsig-secret-alg", "--rfc2136-tsig-axfr", "--rfc2136-insecure", "--rfc2136-gss-tsig",
    "--rfc2136-kerberos-username", "--rfc2136-use-tls", "--tls-ca", "--tls-client-cert",
    "--tls-client-cert-key", "--rfc2136-min-ttl", "--rfc2136-create-ptr", "--rfc2136-batch-change-size",
    "--policy", "--registry", "--txt-owner-id", "--txt-prefix", "--txt-suffix", "--interval", "--events",
    "--once", "--dry-run", "--metrics-address",
}  # fmt: skip
"""Flags of external-dns."""


@every_page
def test_every_flag_and_variable_is_real(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    flags = {flag for command in COMMANDS for flag in flags_of(command)}
    others = {"--version", "--require-hashes", "--no-deps"}  # of no command, and pip's
    others |= {"--from-file", "--ignore-not-found", "--local", "--replicas", "--save-config", "--type"}  # kubectl's
    others |= {"--for", "--now", "--timeout"}  # kubectl's and systemctl's
    others |= {"--as", "--prefix"}  # kubectl's, too
    others |= {"--only", "--quick"}  # of the benchmarks
    if page.stem == "active-directory":
        others |= {
            "--attributes",
            "--noexpiry",
            "--objectdn",
            "--principal",
            "--random-password",
            "--sddl",
        }  # samba-tool's
    if page.stem == "coming-from":
        others |= EXTERNAL_DNS
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z\d-]+", text)) <= flags | others
    variables = {name.upper() for name in Settings.model_fields}
    families = {"DNS", "TSIG", "TRANSFER", "RECORD", "UPDATE", "MAX", "OWNER", "OWNERSHIP", "PUBLISH", "EXCLUDE"}
    for variable in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text):
        if variable.split("_")[0] in families:
            assert variable in variables


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_described_with_every_flag_of_its_own(command: str) -> None:
    section = re.search(rf"^## {command}\n(.*?)(?=^## )", COMMAND_LINE, re.MULTILINE | re.DOTALL)
    assert section
    common = COMMAND_LINE.partition("\n## ")[0]
    settings = {flag_of(name) for name in Settings.model_fields}
    settings |= {flag.replace("--", "--no-", 1) for flag in settings}
    for flag in flags_of(command) - settings:
        assert f"`{flag}" in section[1] or f"`{flag}" in common, flag


def flags_of(command: str) -> set[str]:
    """Return the long flags in the help of a command."""
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
        mock.patch.dict(os.environ, COLUMNS="500"),  # no flag is cut in two
    ):
        arguments.parse([command, "--help-all"])
    return set(re.findall(r"--[a-z][a-z-]+", printed.getvalue().partition("exit codes:")[0]))


def test_exit_codes_are_those_of_the_help() -> None:
    for code, meaning in re.findall(r"^  (\d+)  (.*)$", arguments._EXIT_CODES, re.MULTILINE):
        plain = meaning.replace("; apply:", ". apply:").replace("; check", ". check")
        assert f"| {code} | {plain} |" in COMMAND_LINE.replace("`", "")


@pytest.mark.parametrize("kind", [SettingsError, SourceError, Unreachable, Denied, ZoneChanged, BadResponse])
def test_error_has_its_exit_code(kind: type[KsdError]) -> None:
    assert f"| `{kind.__name__}` | {kind.exit_code} |" in ERRORS


MESSAGES = [
    message for cell in re.findall(r"^\| (`.*?) \|", ERRORS, re.MULTILINE) for message in re.findall(r"`([^`]+)`", cell)
]


@pytest.mark.parametrize("message", MESSAGES)
def test_message_exists_in_the_code(message: str) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "ksd_ddns").rglob("*.py")))
    joined = re.sub(r"[\"']\s*\n\s*f?[\"']", "", source)  # strings that continue on the next line
    for piece in message.split("…"):
        assert piece.strip() in joined

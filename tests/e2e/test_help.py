# SPDX-License-Identifier: Apache-2.0
"""Help and completion, as people see them."""

import contextlib
import os
import pty
import shutil
import subprocess
from pathlib import Path
from unittest import mock

import pytest

from ksd_ddns.cli.arguments import COMMANDS
from ksd_ddns.config.settings import Settings, flag_of
from tests.e2e.command import PROGRAM, Command

SECONDS = 60.0


def help_of(*argv: str, tmp_path: Path) -> str:
    with mock.patch.dict(os.environ, COLUMNS="80", LINES="50"):
        done = Command(tmp_path, {})(*argv)
    assert (done.code, done.err) == (0, "")
    return done.out


@pytest.mark.parametrize("verb", ["plan", "apply", "run", "check", "explain", "list"])
def test_help_fits_a_screen_and_names_every_setting(verb: str, tmp_path: Path) -> None:
    lines = help_of(verb, "--help", tmp_path=tmp_path).splitlines()
    assert lines[0] == f"usage: ksd-ddns {verb} [OPTIONS]{' NAMESPACE/VM|NAME' * (verb == 'explain')}"
    assert 24 <= len(lines) <= 50
    assert max(map(len, lines)) <= 80
    words = set(" ".join(lines).replace(",", " ").split())
    assert {flag_of(name) for name in Settings.model_fields} <= words
    described = {name for name in Settings.model_fields if f"[{name.upper()}]" in " ".join(lines)}
    assert described == {"domain", "dns_server", "tsig_key_file", "zone", "namespaces"}


def test_full_help_describes_more(tmp_path: Path) -> None:
    short = help_of("plan", "--help", tmp_path=tmp_path)
    full = help_of("plan", "--help-all", tmp_path=tmp_path)
    assert "how names are owned" not in short
    assert "how names are owned" in full
    assert len(full.splitlines()) > 100


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_of_a_command_in_both_spellings(verb: str, tmp_path: Path) -> None:
    assert help_of("help", verb, tmp_path=tmp_path) == help_of(verb, "--help", tmp_path=tmp_path)
    assert help_of("help", verb, "--help-all", tmp_path=tmp_path) == help_of(verb, "--help-all", tmp_path=tmp_path)


@pytest.mark.parametrize("word", ["MAX_DELETE_PERCENT", "max_delete_percent", "--max-delete-percent"])
def test_help_of_a_setting_in_all_spellings(word: str, tmp_path: Path) -> None:
    first, description, default = help_of("help", word, tmp_path=tmp_path).splitlines()
    assert first == "MAX_DELETE_PERCENT, --max-delete-percent, max_delete_percent in the settings file"
    assert "percentage of the owned names" in description
    assert default == "  default: 30"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_help(name: str, tmp_path: Path) -> None:
    assert help_of("help", name, tmp_path=tmp_path).startswith(f"{name.upper()}, ")


def test_help_finds_settings_by_words(tmp_path: Path) -> None:
    def found(*words: str) -> list[str]:
        lines = help_of("help", *words, tmp_path=tmp_path).splitlines()
        return [line.partition(",")[0] for line in lines if not line.startswith(" ")]

    assert found("delete") == ["POLICY", "MAX_DELETE_PERCENT"]
    assert found("Reverse", "auto") == ["REVERSE_ZONES"]
    assert found("deletions") == ["MAX_DELETE_PERCENT"], "although it resembles the command completion"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["xyzzy"], "no command and no setting has this word"),
        (["--xyzzy"], "no command and no setting has this word"),
        (["limit", "xyzzy"], "no command and no setting has these words"),
        (["plann"], "unknown command: did you mean plan?"),
    ],
)
def test_help_of_an_unknown_word(words: list[str], error: str, tmp_path: Path) -> None:
    done = Command(tmp_path, {})("help", *words)
    assert (done.code, done.out, done.err) == (2, "", f"error: {error} (see ksd-ddns --help)\n")


def test_help_of_the_program(tmp_path: Path) -> None:
    shown = help_of("help", tmp_path=tmp_path)
    assert shown == help_of("--help", tmp_path=tmp_path) == help_of("--help-all", tmp_path=tmp_path)
    assert shown == help_of("help", "-h", tmp_path=tmp_path)
    for verb, summary in COMMANDS.items():
        assert f"  {verb} " in shown
        assert summary in " ".join(shown.split())
    assert len(shown.splitlines()) <= 50


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(("help", "aply"), "did you mean apply?", id="command"),
        pytest.param(("hlep",), "did you mean help?", id="help"),
        pytest.param(("completion", "csh"), "choose from", id="shell"),
        pytest.param(("plan", "--tsig-keyfile=x"), "did you mean --tsig-key-file?", id="setting"),
        pytest.param(("plan", "--confg=x"), "did you mean --config?", id="flag"),
        pytest.param(("plan", "-o", "yaml"), "choose from", id="format"),
    ],
)
def test_mistakes_get_a_hint(argv: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = Command(tmp_path, {})(*argv)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert done.err.count("\n") == 1


# completion


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write the script of the shell that is the parameter of the test, and a file for it to complete."""
    shell = request.node.callspec.params["shell"]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    found = tmp_path / "script"
    found.write_text(Command(tmp_path, {})("completion", shell).out)
    (tmp_path / "vmis-of-prod.yaml").write_text("")
    return found


CASES = [
    pytest.param("bootst", ["bootstrap"], id="command"),
    pytest.param("help bootst", ["help", "bootstrap"], id="command-of-help"),
    pytest.param("plan --dns-serv", ["plan", "--dns-server"], id="setting"),
    pytest.param("run --leader-el", ["run", "--leader-election"], id="switch"),
    pytest.param("apply --forc", ["apply", "--force"], id="flag-of-a-command"),
    pytest.param("plan -o nsup", ["plan", "-o", "nsupdate"], id="format"),
    pytest.param("apply --policy upsert", ["apply", "--policy", "upsert-only"], id="value-of-a-setting"),
    pytest.param("plan --from vmis-of", ["plan", "--from", "vmis-of-prod.yaml"], id="file"),
    pytest.param("completion zs", ["completion", "zsh"], id="shell"),
    pytest.param("help MAX_D", ["help", "MAX_DELETE_PERCENT"], id="setting-of-help"),
]

_START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
_PREPARE = {
    "bash": "PS1=; bind 'set bell-style none'; source ./script; ksd-ddns() { printf 'got=<%s>\\n' \"$*\"; }",
    "zsh": "autoload -Uz compinit; compinit -u -D; "
    'PS1=; eval "$(<script)"; ksd-ddns() { printf \'got=<%s>\\n\' "$*"; }',
}


@pytest.mark.parametrize(("typed", "expected"), CASES)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_completes(shell: str, typed: str, expected: list[str], script: Path) -> None:
    shown = typed_into(shell, f"ksd-ddns {typed}\t\n", script.parent)
    assert f"got=<{' '.join(expected)}>" in shown.replace("\r", "").replace(" >", ">")


def typed_into(shell: str, keys: str, directory: Path) -> str:
    """Return what the interactive shell shows after the script is loaded and `keys` are typed."""
    try:
        ours, theirs = pty.openpty()
    except OSError as e:
        pytest.skip(f"no pseudo-terminals here, /dev/pts is not mounted: {e}")
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb"}
    with subprocess.Popen(
        _START[shell],
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = ""
        try:
            os.write(ours, f"{_PREPARE[shell]}; echo read''y\n".encode())
            shown = _read_until(ours, "ready", "")
            os.write(ours, keys.encode())
            shown = _read_until(ours, ">", shown.rpartition("ready")[2])
        finally:
            process.kill()
            os.close(ours)
    return shown


def _read_until(descriptor: int, end: str, shown: str) -> str:
    with contextlib.suppress(OSError):  # the shell ended
        while end not in shown:
            shown += os.read(descriptor, 4096).decode(errors="replace")
    return shown


@pytest.mark.parametrize(("typed", "expected"), CASES)
@pytest.mark.parametrize("shell", ["fish"])
def test_fish_completes(shell: str, typed: str, expected: list[str], script: Path) -> None:
    command = f"source ./script; complete -C 'ksd-ddns {typed}'"
    done = subprocess.run(
        [shell, "--no-config", "-c", command],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(script.parent)},
    )
    assert done.stderr == ""
    # Fish 4 adds words that contain what was typed; the shell itself prefers those that begin with it.
    word = typed.rpartition(" ")[2]
    offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert [each for each in offered if each.startswith(word)] == expected[-1:]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_flag_is_in_the_script(shell: str, tmp_path: Path) -> None:
    done = Command(tmp_path, {}).process("completion", shell, program=PROGRAM)
    assert (done.code, done.err) == (0, "")
    for name in Settings.model_fields:
        flag = flag_of(name)
        assert (flag if shell != "fish" else f"-l {flag[2:]}") in done.out

# SPDX-License-Identifier: Apache-2.0
"""The process around a command: output that cannot be written, signals from the first moment, bugs, and secrets."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.servers import Bind, Port, program
from harness.vmis import as_yaml, vmi
from tests.e2e.command import PROGRAM, SECONDS, Command, Done
from tests.e2e.conftest import Ksd

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTIzNDU2Nzg="


def run_redirected(command: Command, redirection: str, *arguments: object, text: Mapping[str, object] = DB) -> Done:
    """Run the command in a shell with a redirection of its streams."""
    words = [*PROGRAM, *map(str, arguments)]
    if arguments[0] != "list":
        words += ["--from", str(command.file([text]))]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**command.environment, "PYTHONUNBUFFERED": ""},
        timeout=SECONDS,
        check=False,
    )
    for word in ("Traceback", "Exception ignored"):
        assert word not in done.stdout + done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


# output


@pytest.mark.parametrize(
    ("redirection", "words"),
    [
        pytest.param(">/dev/full", "No space left on device", id="full"),
        pytest.param(">&-", "Bad file descriptor", id="closed"),
    ],
)
def test_unwritable_output_is_a_failure(bind: Bind, ksd: Ksd, redirection: str, words: str) -> None:
    command = ksd(bind)
    for arguments in (
        ("plan",),
        ("plan", "--exit-code"),
        ("plan", "-o", "json"),
        ("plan", "-o", "nsupdate"),
        ("check",),
        ("check", "-o", "json"),
    ):
        done = run_redirected(command, redirection, *arguments)
        assert (arguments, done.code) == (arguments, 74)
        assert f"error: cannot write to standard output: {words}\n" in done.err
    # The update was sent, and the exit code of apply is about that.
    done = run_redirected(command, redirection, "apply")
    assert done.code == 0
    assert "cannot write to standard output" in done.err
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]
    bind.nsupdate("add net1.web.prod.vm. 60 A 192.0.2.1")
    conflict = vmi("web", "prod", {"net1": ["10.1.0.7"]})
    assert run_redirected(command, redirection, "apply", text=conflict).code == 1
    for arguments in (("list",), ("list", "-o", "json")):
        assert run_redirected(command, redirection, *arguments).code == 74


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_an_invalid_setting_exits_with_2_for_any_output(tmp_path: Path, redirection: str) -> None:
    assert run_redirected(Command(tmp_path, {"DNS_PORT": "abc"}), redirection, "plan").code == 2


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_lost_messages_on_standard_error_are_no_failure(bind: Bind, ksd: Ksd, redirection: str) -> None:
    command = ksd(bind)
    # An interface that cannot have a name causes a warning.
    odd = vmi("db", "prod", {"net1": ["10.1.0.9"], "n" * 64: ["10.1.0.10"]})
    for arguments in (("plan",), ("plan", "-o", "json"), ("apply", "-v"), ("list",)):
        done = run_redirected(command, redirection, *arguments, text=odd)
        assert (arguments, done.code) == (arguments, 0)
        assert done.out
        assert "warning" not in done.out
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_unwritable_help_is_a_failure(tmp_path: Path, argument: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *PROGRAM, argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == 74
    assert "No space left on device" in done.stderr


def test_apply_keeps_its_exit_code_when_the_pipe_closes_early(bind: Bind, ksd: Ksd) -> None:
    many = [vmi(f"vm{i}", "prod", {"net1": ["10.1.0.1"]}) for i in range(1500)]
    with ksd(bind).started("apply", vmi=many) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 0
    assert bind.query("net1.vm1499.prod.vm", "A") == ["10.1.0.1"]


def test_no_socket_gets_a_closed_standard_descriptor(bind: Bind, ksd: Ksd) -> None:
    # Otherwise the warning, which goes to descriptor 2, would be sent to the primary.
    odd = vmi("db", "prod", {"net1": ["10.1.0.9"], "n" * 64: ["10.1.0.10"]})
    assert run_redirected(ksd(bind), "<&- 2>&-", "apply", text=odd).code == 0
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


# signals


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.2, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("verb", ["plan", "apply", "run"])
def test_a_signal_at_any_moment_ends_the_process(
    bind: Bind, ksd: Ksd, verb: str, number: signal.Signals, delay: float, tmp_path: Path
) -> None:
    command = ksd(bind, STATUS_ADDRESS="127.0.0.1:0")
    with command.started(verb, vmi=[DB]) as process:
        time.sleep(delay)
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    # Before our first line runs, the signal has its default effect, and Python prints its own message.
    ours = "ksd_ddns" in out + err
    assert "Traceback" not in out + err or not ours
    allowed = {0, 128 + number, -number} if verb != "run" else {0, -number}
    assert process.returncode in allowed or not ours


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_process_1_of_a_container_exits_on_a_signal_during_startup(
    bind: Bind, ksd: Ksd, verb: str, number: signal.Signals
) -> None:
    # Process 1 has no default actions: without a handler a signal is lost.
    namespace = [program("unshare"), *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespaces here")
    command = ksd(bind, STATUS_ADDRESS="127.0.0.1:0")
    # Slow modules are not imported yet when the program reports that its handlers are installed.
    start = (
        "import os, sys; from ksd_ddns.cli import signals; install = signals.end_at_once\n"
        "def said(**more): install(**more); os.write(1, b'handlers'); __import__('time').sleep(0.2)\n"
        "signals.end_at_once = said; from ksd_ddns.__main__ import main; sys.exit(main())"
    )
    arguments = [verb, "--from", str(command.file([DB]))]
    with subprocess.Popen(
        [*namespace, "--kill-child", sys.executable, "-c", start, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environment,
    ) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stdout.read(8) == b"handlers"
            (child,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
            os.kill(int(child), number)
            _, err = outer.communicate(timeout=20)
        finally:
            outer.kill()
    assert outer.returncode == (0 if verb == "run" else 128 + number)
    assert err == b""


def test_signal_handlers_are_installed_before_slow_imports() -> None:
    code = "import sys, ksd_ddns.__main__; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    slow = {"argparse", "dns", "kubernetes", "msgspec", "pydantic", "rich", "threading", "yaml"}
    assert "ksd_ddns.cli.signals" in loaded
    assert not slow & set(loaded) - _loaded_by_python()


def _loaded_by_python() -> set[str]:
    code = "import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_an_ignored_sigint_stays_ignored(bind: Bind, ksd: Ksd, verb: str) -> None:
    command = ksd(bind, STATUS_ADDRESS="127.0.0.1:0")
    with subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *PROGRAM, verb, "--from", str(command.file([DB]))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environment,
    ) as process:
        for _ in range(10):
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        if verb == "run":
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert verb == "run" or b"Plan: 2 to add" in out


# bugs


@pytest.mark.parametrize("verbose", [False, True], ids=["plain", "verbose"])
def test_a_bug_is_one_line_without_the_message_of_the_exception(verbose: bool) -> None:
    code = (
        "import sys, ksd_ddns.config.loading\n"
        "def load(given): raise ValueError(sys.stdin.read())\n"
        "ksd_ddns.config.loading.load = load\n"
        "from ksd_ddns.__main__ import main\n"
        "sys.exit(main())"
    )
    # Not in the code: since Python 3.13 a stack shows the lines of -c.
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", *(["-v"] if verbose else [])],
        input=SECRET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (70, "")
    first, *more = done.stderr.splitlines()
    assert re.fullmatch(r"BUG: ValueError at settings\.py:\d+ in load, please report it", first)
    assert bool(more) is verbose
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


# secrets in the wrong places


@pytest.mark.parametrize("secret", [SECRET, "hmac-sha256:ksd:" + SECRET, f'key "k" {{ secret "{SECRET}"; }};'])
@pytest.mark.parametrize(
    "setting",
    [
        "TSIG_KEY_NAME", "TSIG_KEY_FILE", "TSIG_ALGORITHM", "TSIG_SECRET_FILE", "TRANSFER_TSIG_KEY_NAME", "DNS_SERVER",
        "TRANSFER_TSIG_ALGORITHM", "TRANSFER_TSIG_KEY_FILE", "DOMAIN", "ZONE", "OWNER_ID", "RECORD_TTL", "NAMESPACES",
        "LABEL_SELECTOR", "GSS_TSIG_HOSTNAME", "DEFAULT_RECORD", "NOTIFY_SECONDARIES",
    ],
)  # fmt: skip
def test_a_secret_in_the_wrong_setting_is_not_shown(setting: str, secret: str, tmp_path: Path) -> None:
    key = tmp_path / "ksd.key"
    key.write_text('key "k" { algorithm hmac-sha256; secret "a3NkLWRkbnM="; };')
    other = {} if setting.startswith("TSIG") else {"TSIG_KEY_FILE": str(key)}
    for command, arguments in (
        (Command(tmp_path, {**other, setting: secret}), ()),
        (Command(tmp_path, other), (f"--{setting.lower().replace('_', '-')}={secret}",)),
    ):
        for verb in ("plan", "check"):
            done = command(verb, *arguments, "-v", vmi=[DB])
            assert done.code in ({1, 2} if verb == "check" else {2})
            assert SECRET not in done.out + done.err
            assert SECRET[:20] not in done.out + done.err
            assert setting in done.out + done.err or "--default-record" in done.err


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(("plan", f"--tsig-secrt={SECRET}"), id="mistyped"),
        pytest.param(("plan", "--tsig-secrt", SECRET), id="mistyped-and-apart"),
        pytest.param(("plan", f"--tsig-secret{SECRET}"), id="without-equals-sign"),
        pytest.param(("plan", f"-tsig-secret={SECRET}"), id="one-dash"),
        pytest.param(("plan", "--tsig-secret=", SECRET), id="space-behind-the-sign"),
        pytest.param(("plan", f"--transfer-tsig-secre={SECRET}"), id="transfer"),
        pytest.param(("plan", f"--tsig_secret={SECRET}"), id="underscore"),
        pytest.param(("--tsig-secret", SECRET, "plan"), id="before-the-command"),
        pytest.param((SECRET,), id="as-the-command"),
        pytest.param(("plan", SECRET), id="as-an-argument"),
        pytest.param(("plan", "-o", SECRET), id="as-a-choice"),
        pytest.param(("plan", f"--adopt={SECRET}"), id="behind-a-switch"),
        pytest.param(("plan", "--tsig-key", "short secret"), id="short"),
        pytest.param(("plan", "--tsig-secretshortsecret"), id="short-without-equals-sign"),
    ],
)
def test_a_secret_after_a_mistyped_flag_is_not_shown(argv: tuple[str, ...], tmp_path: Path) -> None:
    done = Command(tmp_path, {})(*argv)
    assert (done.code, done.out) == (2, "")
    for secret in (SECRET[:20], "short secret", "shortsecret"):
        assert secret not in done.err
    assert done.err.count("\n") == 1


def test_a_secret_in_the_place_of_the_key_name_is_not_shown(tmp_path: Path) -> None:
    key = tmp_path / "ksd.key"
    key.write_text(f'key "{SECRET}" {{ algorithm hmac-sha256; secret "a3NkLWRkbnM="; }};')
    done = Command(tmp_path, {"TSIG_KEY_FILE": str(key)})("plan", vmi=[DB])
    assert done.code == 2
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize("end", ["\n", "\r\n", "  ", "\t\n"], ids=repr)
def test_white_space_around_settings_is_ignored(bind: Bind, ksd: Ksd, end: str, tmp_path: Path) -> None:
    text = bind.key_file.read_text()
    name = re.search(r'key "?([^"\s]+)', text)
    secret = re.search(r'secret "?([^"\s;]+)', text)
    assert name
    assert secret
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf" + (secret[1] + end).encode())
    settings = {"DNS_SERVER": ksd(bind).settings["DNS_SERVER"], "TSIG_KEY_NAME": name[1], "OWNER_ID": "us",
                "ZONE": "vm", "LABEL_SELECTOR": "!nowhere", "DNS_TIMEOUT": "5s", "OWNERSHIP": "txt", "RECORD_TTL": "61",
                "NAME_SERVER_IP": " "}  # fmt: skip
    for key in ({"TSIG_SECRET": secret[1]}, {"TSIG_SECRET_FILE": str(file)}):
        command = Command(tmp_path, {name: f"{end}{value}{end}" for name, value in (settings | key).items()})
        assert command("apply", vmi=[DB]).code == 0
    assert bind.ttl("net1.db.prod.vm.", "A") == 61
    assert bind.query("net1.db.prod.vm", "TXT") == ['"heritage=ksd-ddns,owner=us,vmi=prod/db"']


# escape sequences


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("apiVersion: v1\nkind: List\nitems: !<%1b]0;pwned%07%1b[31m> []\n", id="tag"),
        pytest.param("apiVersion: v1\nkind: List\nitems: *\x1b[31m\n", id="anchor"),
        pytest.param('apiVersion: v1\nkind: "\\e]0;pwned\\a\\x9b31m"\nitems: []\n', id="kind"),
        pytest.param('{"kind": "\\u001b[31mList\\u202e", "items": []}', id="json"),
    ],
)
def test_control_characters_in_a_file_do_not_reach_the_terminal(text: str, tmp_path: Path) -> None:
    key = tmp_path / "ksd.key"
    key.write_text(f'key "k" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    for name in ("v.yaml", "\x1b[31mv\u202e.yaml"):
        file = tmp_path / name
        file.write_text(text)
        command = Command(tmp_path, {"TSIG_KEY_FILE": str(key)})
        for verb in ("plan", "check"):
            done = command(verb, "--from", file)
            assert done.code == (1 if verb == "check" else 2)
            assert (done.out + done.err).replace("\n", "").isprintable()


# exit codes


@pytest.mark.parametrize("verb", ["plan", "apply", "list", "check"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({}, 0, id="done"),
        pytest.param({"RECORD_TTL": "x"}, 2, id="setting"),
        pytest.param({"DNS_SERVER": "127.0.0.1:{unused}"}, 3, id="unreachable"),
        pytest.param({"TSIG_KEY_NAME": "other", "TSIG_SECRET": SECRET, "TSIG_KEY_FILE": ""}, 4, id="denied"),
    ],
)
def test_commands_exit_with_the_documented_codes(
    bind: Bind, ksd: Ksd, verb: str, change: dict[str, str], code: int
) -> None:
    port = Port.reserve()
    port.release()
    command = ksd(bind, **{name: value.format(unused=port.number) for name, value in change.items()})
    done = command(verb, *([] if verb == "list" else ["--from", command.file([DB])]))
    assert done.code == (min(code, 1) if verb == "check" else code)


def test_an_invalid_source_exits_with_2(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    for verb in ("plan", "apply", "run"):
        done = ksd(bind).process(verb, "--from", "-" if verb == "run" else tmp_path / "missing")
        assert (done.code, done.out) == (2, "")


# several files


def test_several_files_form_one_source(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    web = vmi("web", "prod", {"net1": ["10.1.0.7"]})
    first, second = command.file([DB]), command.file([web])
    assert command("apply", "--from", first, "--from", second).code == 0
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]
    assert bind.query("net1.web.prod.vm", "A") == ["10.1.0.7"]
    assert command("plan", "--exit-code", "--from", second, "--from", first).code == 0
    done = command.process("plan", "--exit-code", "--from", first, "--from", "-", stdin=as_yaml(web))
    assert (done.code, done.err) == (0, "")
    done = command("apply", "--from", first, "--from", command.file([DB]))
    assert (done.code, done.out) == (2, "")
    assert f"the VMI prod/db is in {first} and in " in done.err
    done = command("apply", "--from", first, "--from", first)
    assert (done.code, done.out) == (2, "")
    assert f"--from {first} is given 2 times" in done.err

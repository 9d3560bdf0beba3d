"""Arguments -> options: one flag for every setting, with its environment variable beside it in the help."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ksd_ddns import __version__
from ksd_ddns.cli import output
from ksd_ddns.config.settings import Settings, flag_of
from ksd_ddns.printable import masked

_EXIT_CODES = """exit codes:
  0  done, nothing to complain about
  1  plan --exit-code: there are changes; apply: conflicts, refusals, or deletions blocked; check: something failed
  2  a setting or the input is wrong: nothing was sent
  3  the primary does not answer
  4  the primary refuses the key, the zone, the transfer or the update
  5  the primary breaks the protocol, or a signature is wrong
  70  a bug: please report the line that begins with BUG
  74  the result could not be written to standard output
"""
_EPILOG = "Every setting is an environment variable, too (in brackets); a flag wins.\n\n" + _EXIT_CODES


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; `flags` are the settings given as flags, by field name."""

    command: str
    flags: dict[str, Any]
    verbose: bool = False
    source: tuple[str, ...] = ()
    output: str = "text"
    exit_code: bool = False
    server: str = ""
    directory: Path = Path()
    address: str = ""
    port: int = 0
    transfer_key: Path | None = None
    secondary_of: str = ""


def parse(argv: Sequence[str]) -> Options:
    """Return the options. Raises SystemExit: 2 where they are wrong and that was said, 0 after --help and --version."""
    parser = _parser()
    _check_command(parser, argv)
    found, unknown = parser.parse_known_args(argv)
    given = vars(found)
    command = _commands(parser)[given["command"]]
    if unknown:
        command.error(_unknown(command, unknown, argv))
    given["source"] = tuple(given.pop("source", None) or ())
    flags = {name: given.pop(name) for name in Settings.model_fields if name in given}
    if given.pop("force", False):
        flags["max_delete_percent"] = 100
    return Options(flags=flags, **given)


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and nothing that may be a secret."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where help is; end with exit code 2."""
        # The value of a flag that takes none, or of a wrong one, may be what should have been somewhere else.
        shown = re.sub(r"ignored explicit argument .*", "it takes no value", message)
        output.say(f"error: {masked(shown)} (see {self.prog} --help)")
        sys.exit(2)

    def _print_message(self, message: str, file: object = None) -> None:
        """Write help or version. Raises OutputError where argparse would forget that it could not."""
        if message:
            with output.stdout() as stream:
                stream.write(message)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands, by name."""
    actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(actions).choices)


def _check_command(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """See that the command comes first: argparse would take the value of a flag before it for the command."""
    commands = _commands(parser)
    first = argv[0] if argv else ""
    if first in commands or first in {"-h", "--help", "--version"}:
        return
    if not first:
        parser.error(f"a command is needed: {', '.join(commands)}")
    if first.startswith("-"):
        parser.error("the command comes first, then its flags: ksd-ddns COMMAND --flag")
    near = difflib.get_close_matches(first, commands, n=1)
    parser.error(
        f"unknown command: did you mean {near[0]}?" if near else f"unknown command; there are {', '.join(commands)}"
    )


def _unknown(command: argparse.ArgumentParser, unknown: Sequence[str], argv: Sequence[str]) -> str:
    """Return what is wrong with arguments that no parser took; no value of theirs is shown."""
    options = [item for action in command._actions for item in action.option_strings]
    flag = next((item for item in unknown if item.startswith("-") and item != "-"), "")
    if not flag:
        if any(_is_of_key(item) for item in argv):
            return "an argument belongs to no flag: write --flag=VALUE, and quote a value with spaces"
        return f"{masked(unknown[0])!r} belongs to no flag: write --flag=VALUE, and quote a value with spaces"
    name = flag.partition("=")[0]
    near = _near(name, options)
    hint = f": did you mean {near}?" if near else ""
    # What follows --tsig or --transfer without an equals sign may be the secret itself.
    if _is_of_key(name) and not (near and len(name) <= len(near) + 2):
        return f"unknown flag that begins with --{'transfer' if 'transfer' in name.lower() else 'tsig'}{hint}"
    return f"unknown flag {masked(name)}{hint}"


def _is_of_key(argument: str) -> bool:
    return argument.lstrip("-").lower().startswith(("tsig", "transfer")) and argument.startswith("-")


def _near(name: str, options: Iterable[str]) -> str:
    """Return the flag that `name` was probably meant to be, empty where there is none."""
    folded = "--" + name.lstrip("-").lower().replace("_", "-")
    long = [option for option in options if option.startswith("--")]
    found = difflib.get_close_matches(folded, long, n=1, cutoff=0.75)
    return found[0] if found else next((option for option in long if len(folded) > 5 and option.startswith(folded)), "")


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="ksd-ddns",
        description="DNS for the secondary networks of KubeVirt VMs, by dynamic update (RFC 2136).",
        epilog=_EXIT_CODES,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ksd-ddns {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    plan = _command(commands, "plan", "show what apply would change; send nothing")
    _add_source(plan)
    _add_output(plan, ("text", "json", "nsupdate"))
    plan.add_argument("--exit-code", action="store_true", help="exit with 1 when there are changes")
    _add_settings(plan)

    apply = _command(commands, "apply", "bring the zone to what the VMIs say, once")
    _add_source(apply)
    apply.add_argument("--force", action="store_true", help="delete, however much it is (MAX_DELETE_PERCENT=100)")
    _add_settings(apply)

    run = _command(commands, "run", "keep the zone as the VMIs are, until SIGTERM")
    _add_source(run)
    _add_settings(run)

    check = _command(commands, "check", "walk through the set-up, and say what is wrong and how to cure it")
    _add_source(check)
    _add_output(check, ("text", "json"))
    _add_settings(check)

    owned = _command(commands, "list", "show the records that ksd-ddns owns in the zone")
    _add_output(owned, ("text", "json"))
    _add_settings(owned)

    bootstrap = _command(commands, "bootstrap", "write key, zone and configuration of the bundled primary, if missing")
    bootstrap.add_argument("--server", required=True, choices=("bind9", "knot"), help="which server")
    bootstrap.add_argument("--dir", required=True, type=Path, dest="directory", metavar="DIR", help="its directory")
    bootstrap.add_argument("--address", default="127.0.0.1", help="where it listens (default: 127.0.0.1)")
    bootstrap.add_argument("--port", type=int, default=5353, help="on which port, UDP and TCP (default: 5353)")
    bootstrap.add_argument(
        "--transfer-key",
        type=Path,
        metavar="FILE",
        help="one more key, for secondaries: it may transfer the zones, and a catalog of them (bind9)",
    )
    bootstrap.add_argument(
        "--secondary-of",
        default="",
        metavar="HOST[:PORT]",
        help="write a secondary that follows such a primary with its transfer key (bind9; default port: 5353)",
    )
    _add_settings(bootstrap, only=("domain", "name_server_ip", "record_ttl", "reverse_zones"))
    return parser


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with the epilog as it is written, and room for the long names of settings."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    command.add_argument("-v", "--verbose", action="store_true", help="tell what is done, on standard error")
    return command


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--from",
        action="append",
        dest="source",
        metavar="FILE",
        help="VMIs, as kubectl get vmi -A -o yaml (or json) writes them; - is standard input; several files count "
        "together (default: the cluster)",
    )


def _add_output(command: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    command.add_argument("-o", "--output", choices=formats, default="text", help="form of the output (default: text)")


def _add_settings(command: argparse.ArgumentParser, *, only: tuple[str, ...] = ()) -> None:
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, info in Settings.model_fields.items():
        if only and name not in only:
            continue
        extra = info.json_schema_extra
        about = extra if isinstance(extra, dict) else {}
        title = str(about.get("group"))
        if title not in groups:
            groups[title] = command.add_argument_group(title)
        text = f"{info.description} [{name.upper()}] (default: {about.get('shown')})".replace("%", "%%")
        switch: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction} if info.annotation is bool else {"metavar": "VALUE"}
        )
        # Values are judged by the settings, which know the environment, too; a flag that is not given says nothing.
        groups[title].add_argument(flag_of(name), dest=name, default=argparse.SUPPRESS, help=text, **switch)

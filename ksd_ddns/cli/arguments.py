"""Arguments -> options of a command: its own flags, and one for every setting, with its environment variable."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, cast

from pydantic.fields import FieldInfo

from ksd_ddns import __version__
from ksd_ddns.cli import output
from ksd_ddns.cli.options import Options
from ksd_ddns.config.settings import Settings, flag_of
from ksd_ddns.printable import masked

_EXIT_CODES = """exit codes:
  0  success
  1  plan --exit-code: there are changes; apply: conflicts, refusals, or deletions blocked; check, explain: problems
  2  a setting or the input is wrong: nothing was sent
  3  the primary does not answer
  4  the primary refuses the key, the zone, the transfer or the update
  5  the primary breaks the protocol, or a signature is wrong
  70  a bug: please report the line that begins with BUG
  74  the result could not be written to standard output
"""
_EPILOG = "Every setting is also an environment variable (in brackets); the flag wins.\n\n" + _EXIT_CODES


COMMANDS = {
    "plan": "show what apply would change, send nothing",
    "apply": "update the zone once",
    "run": "keep the zone up to date until SIGTERM",
    "check": "check the setup and print a fix for every problem",
    "explain": "explain why a VM or a name is in DNS, or is not",
    "list": "list the records that ksd-ddns owns in the zone",
    "bootstrap": "write key, zone and configuration of the bundled primary if missing",
}
"""The commands, each with its summary: the module `ksd_ddns.cli.<command>` has its `Options` and its `main`."""


class Command(Protocol):
    """The module of a command."""

    Options: type[Options]

    def main(self, asked: Any, *more: Any) -> int:
        """Do it; return the exit code."""


class Asked(NamedTuple):
    """What the command line asks for: a command, and its options."""

    name: str
    command: Command
    options: Options


def parse(argv: Sequence[str]) -> Asked:
    """Parse the arguments. Raises SystemExit: 2 with a message if they are wrong, 0 after --help and --version.

    Only the module of the command asked for is imported.
    """
    name = argv[0] if argv and argv[0] in COMMANDS else ""
    command = cast("Command", import_module(f"ksd_ddns.cli.{name}")) if name else None
    parser, commands = _parsers({} if command is None else {name: command.Options})
    _check_command(parser, argv)
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        commands[name].error(_unknown(commands[name], unknown, argv))
    assert command is not None, "checked above"
    given = vars(found)
    flags = {field: given.pop(field) for field in Settings.model_fields if field in given}
    values: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value for field, value in given.items()
    }
    return Asked(name, command, command.Options(flags=flags, **values))


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and nothing that may be a secret."""

    def error(self, message: str) -> NoReturn:
        """Notify what is wrong, and where help is; end with exit code 2."""
        # The value of a flag that takes none, or of a wrong one, may be what should have been somewhere else.
        shown = re.sub(r"ignored explicit argument .*", "it takes no value", message)
        output.say(f"error: {masked(shown)} (see {self.prog} --help)")
        sys.exit(2)

    def _print_message(self, message: str, file: object = None) -> None:
        """Write help or version. Raises OutputError where argparse would forget that it could not."""
        if message:
            with output.stdout() as stream:
                stream.write(message)


def _check_command(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """See that the command comes first: argparse would take the value of a flag before it for the command."""
    first = argv[0] if argv else ""
    if first in COMMANDS or first in {"-h", "--help", "--version"}:
        return
    if not first:
        parser.error(f"a command is needed: {', '.join(COMMANDS)}")
    if first.startswith("-"):
        parser.error("the command comes first, then its flags: ksd-ddns COMMAND --flag")
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    parser.error(
        f"unknown command: did you mean {near[0]}?" if near else f"unknown command; there are {', '.join(COMMANDS)}"
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


def _parsers(
    options: Mapping[str, type[Options]],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of the commands: only those in `options` have their flags."""
    parser: argparse.ArgumentParser = _Parser(
        prog="ksd-ddns",
        description="DNS for the secondary networks of KubeVirt VMs, by dynamic update (RFC 2136).",
        epilog=_EXIT_CODES,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ksd-ddns {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    commands = {}
    for name, summary in COMMANDS.items():
        commands[name] = subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=_EPILOG,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        if name in options:
            _add_flags(commands[name], options[name])
    return parser, commands


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with the epilog as it is written, and room for the long names of settings."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)


def _add_flags(command: argparse.ArgumentParser, options: type[Options]) -> None:
    for each in fields(options):
        if names := each.metadata.get("names"):
            required: dict[str, Any] = {"required": True} if each.default is MISSING else {}
            if not names[0].startswith("-"):  # a positional argument
                command.add_argument(each.name, **each.metadata["arguments"])
                continue
            # A flag that is not given is left out: the dataclass has the default.
            command.add_argument(
                *names, dest=each.name, default=argparse.SUPPRESS, **required, **each.metadata["arguments"]
            )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, info in Settings.model_fields.items():
        if options.settings and name not in options.settings:
            continue
        extra = info.json_schema_extra
        about = extra if isinstance(extra, dict) else {}
        title = str(about.get("group"))
        if title not in groups:
            groups[title] = command.add_argument_group(title)
        text = f"{info.description} [{name.upper()}] (default: {about.get('shown')})".replace("%", "%%")
        switch: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction} if info.annotation is bool else {"metavar": _metavar(name, info)}
        )
        # The settings parse the values: they know the environment, too.
        groups[title].add_argument(flag_of(name), dest=name, default=argparse.SUPPRESS, help=text, **switch)


def _metavar(name: str, info: FieldInfo) -> str:
    if info.annotation is float:
        return "DURATION"
    if info.annotation is int:
        return "N"
    return "FILE" if name.endswith("_file") or info.annotation == Path | None else "VALUE"

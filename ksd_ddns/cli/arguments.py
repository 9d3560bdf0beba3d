# SPDX-License-Identifier: Apache-2.0
"""Arguments -> options of a command: its own flags, and one for every setting, with its environment variable.

To add a command, write the module `ksd_ddns.cli.<command>` with its `Options` and its `main`, and add a line to
COMMANDS. Help and completion follow.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, cast

from pydantic.fields import FieldInfo

from ksd_ddns import __version__
from ksd_ddns.cli import output, setting_help, usage
from ksd_ddns.cli.options import Options, PlainOptions
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
_EPILOG = (
    "Every setting is also an environment variable (in brackets), and a key of the file that --config names\n"
    "(DNS_SERVER is dns_server). A flag overrides the variable, and that overrides the file.\n\n" + _EXIT_CODES
)
_SHORT_EPILOG = (
    "A setting is also a variable: DNS_SERVER=10.0.0.53 is --dns-server=10.0.0.53.\n"
    "Exit codes: 0 success, 1 something is left to do, others: --help-all."
)
_COMMON = frozenset({"config", "verbose"})
_USED_FIRST = ("domain", "dns_server", "tsig_key_file", "zone", "namespaces")
"""The settings that most setups need: --help describes them, --help-all the others, too."""


COMMANDS = {
    "plan": "show what apply would change, without sending it",
    "apply": "update the zone once",
    "run": "keep the zone up to date until SIGTERM",
    "check": "check the setup and print a fix for every problem",
    "explain": "explain why a VM or a name is in DNS, or is not",
    "list": "list the records that ksd-ddns owns in the zone",
    "bootstrap": "write key, zone and configuration of the bundled primary if missing",
    "completion": "print a script that completes commands and flags in bash, zsh or fish",
}
"""The commands, each with its summary: the module `ksd_ddns.cli.<command>` has its `Options` and its `main`."""

_HELP = "help"


class Command(Protocol):
    """The module of a command."""

    Options: type[PlainOptions]

    def main(self, asked: Any, *more: Any) -> int:
        """Run the command; return the exit code."""


class Asked(NamedTuple):
    """What the command line asks for: a command, and its options."""

    name: str
    command: Command
    options: PlainOptions


def parse(argv: Sequence[str]) -> Asked:
    """Parse the arguments. Raises SystemExit: 2 with a message if they are wrong, 0 after --help and --version.

    Only the module of the command asked for is imported.
    """
    if argv[:1] == [_HELP]:
        argv = _help(argv[1:])
    name = argv[0] if argv and argv[0] in COMMANDS else ""
    command = _module(name) if name else None
    parser, commands = _parsers({} if command is None else {name: command.Options})
    _check_command(parser, argv)
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        commands[name].error(_unknown(commands[name], unknown, argv))
    assert command is not None, "checked above"
    given = vars(found)
    values: dict[str, Any] = {}
    if issubclass(command.Options, Options):
        values["flags"] = {field: given.pop(field) for field in Settings.model_fields if field in given}
    values |= {field: tuple(value) if isinstance(value, list) else value for field, value in given.items()}
    return Asked(name, command, command.Options(**values))


def _help(about: Sequence[str]) -> Sequence[str]:
    """Return the arguments that print help about a command. Raises SystemExit after help about settings."""
    if not about or about[0] in {_HELP, "-h"}:
        return ["--help"]
    if about[0] not in COMMANDS:
        found = setting_help.lines(about)
        if found:
            output.lines(found)
            raise SystemExit(0)
        if setting_help.lines(about[:1]) or not _near_command(about[0]):
            words = "this word" if len(about) == 1 else "these words"
            _Parser(prog="ksd-ddns").error(f"no command and no setting has {words}")
    return [about[0], *(about[1:] or ["--help"])]


def full_parser() -> argparse.ArgumentParser:
    """Return the parser with the flags of all commands. Slow: it imports all of them."""
    parser, _ = _parsers({name: _module(name).Options for name in COMMANDS})
    return parser


def _module(name: str) -> Command:
    return cast("Command", import_module(f"ksd_ddns.cli.{name}"))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and never show a value that may be a secret."""

    def error(self, message: str) -> NoReturn:
        """Print the error and the command that prints help; exit with code 2."""
        # argparse quotes the value of a flag that takes none. It may be a secret that belongs to another flag.
        shown = re.sub(r"ignored explicit argument .*", "it takes no value", message)
        output.say(f"error: {masked(shown)} (see {self.prog} --help)")
        sys.exit(2)

    def _print_message(self, message: str, file: object = None) -> None:
        """Write help or version. Raises OutputError if that fails, which argparse ignores."""
        if message:
            with output.stdout() as stream:
                stream.write(message)


def _check_command(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Require the command as the first argument: argparse would mistake the value of an earlier flag for it."""
    first = argv[0] if argv else ""
    if first in COMMANDS or first in {"-h", "--help", "--help-all", "--version"}:
        return
    if not first:
        parser.error(f"a command is needed: {', '.join(COMMANDS)}")
    if first.startswith("-"):
        parser.error("the command comes first, then its flags: ksd-ddns COMMAND --flag")
    near = _near_command(first)
    parser.error(
        f"unknown command: did you mean {near}?" if near else f"unknown command; there are {', '.join(COMMANDS)}"
    )


def _near_command(word: str) -> str:
    """Return the command that `word` was probably meant to be, empty if there is none."""
    return next(iter(difflib.get_close_matches(word, [*COMMANDS, _HELP], n=1)), "")


def _unknown(command: argparse.ArgumentParser, unknown: Sequence[str], argv: Sequence[str]) -> str:
    """Return the error for arguments that the parser does not know, without any value that may be a secret."""
    options = [item for action in command._actions for item in action.option_strings]
    flag = next((item for item in unknown if item.startswith("-") and item != "-"), "")
    if not flag:
        if any(_is_of_key(item) for item in argv):
            return "unexpected argument: write --flag=VALUE, and quote a value with spaces"
        return f"unexpected argument {masked(unknown[0])!r}: write --flag=VALUE, and quote a value with spaces"
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
    """Return the flag that `name` was probably meant to be, empty if there is none."""
    folded = "--" + name.lstrip("-").lower().replace("_", "-")
    long = [option for option in options if option.startswith("--")]
    found = difflib.get_close_matches(folded, long, n=1, cutoff=0.75)
    return found[0] if found else next((option for option in long if len(folded) > 5 and option.startswith(folded)), "")


def _parsers(
    options: Mapping[str, type[PlainOptions]],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of the commands: only those in `options` have their flags."""
    parser: argparse.ArgumentParser = _Parser(
        prog="ksd-ddns",
        usage="ksd-ddns COMMAND [OPTIONS]",
        description="DNS for the secondary networks of KubeVirt VMs, by dynamic update (RFC 2136).",
        epilog=f"ksd-ddns help COMMAND describes a command, ksd-ddns help WORD... settings.\n\n{_EXIT_CODES}",
        formatter_class=usage.Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    _add_help(parser, used_first=())
    parser.add_argument("--version", action="version", version=f"ksd-ddns {__version__}", help="print the version")
    parser._positionals.title = "arguments"
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", prog=parser.prog, title="commands")
    commands = {}
    for name, summary in COMMANDS.items():
        command = commands[name] = subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=usage.Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        if name in options:
            _add_flags(command, options[name])
            command.usage = usage.line(command)
            command.epilog = _EPILOG if issubclass(options[name], Options) else _EXIT_CODES
    command = subparsers.add_parser(_HELP, help="describe a command, or settings", add_help=False)
    words = [*COMMANDS, *(name.upper() for name in Settings.model_fields)]
    command.add_argument("word", choices=words, metavar="WORD", nargs="+", help="a command, or words about settings")
    return parser, commands


class _Help(argparse.Action):
    """Prints the help of its parser: all of it if `full`."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        full: bool,
        used_first: Collection[str],
        help: str,  # noqa: A002
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)
        self._full = full
        self._used_first = used_first

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print the help, and exit with code 0."""
        if self._full:
            parser._print_message(usage.text(parser))
        else:
            parser._print_message(usage.short_text(parser, self._used_first, _SHORT_EPILOG))
        parser.exit()


def _add_help(parser: argparse.ArgumentParser, *, used_first: Collection[str]) -> None:
    # Without settings, the full help is short.
    parser.add_argument("-h", "--help", action=_Help, full=not used_first, used_first=used_first, help="print help")
    about_all = "print help with all settings" if used_first else argparse.SUPPRESS
    parser.add_argument("--help-all", action=_Help, full=True, used_first=(), help=about_all)


def _add_flags(command: argparse.ArgumentParser, options: type[PlainOptions]) -> None:
    command._positionals.title = "arguments"
    # The options that all commands have come last.
    for each in sorted(fields(options), key=lambda each: each.name in _COMMON):
        names = each.metadata.get("names")
        if not names:
            continue
        arguments = each.metadata["arguments"]
        if not names[0].startswith("-"):
            optional = {} if each.default is MISSING else {"nargs": "?", "default": argparse.SUPPRESS}
            command.add_argument(each.name, **{**optional, **arguments})
            continue
        required: dict[str, Any] = {"required": True} if each.default is MISSING else {}
        # A flag that is not given is left out: the dataclass has the default.
        command.add_argument(*names, dest=each.name, default=argparse.SUPPRESS, **required, **arguments)
    if not issubclass(options, Options):
        _add_help(command, used_first=())
        return
    used_first = [name for name in _USED_FIRST if not options.settings or name in options.settings]
    _add_help(command, used_first=used_first)
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
    if info.annotation in (int, int | None):
        return "N"
    return "FILE" if name.endswith("_file") or info.annotation == Path | None else "VALUE"

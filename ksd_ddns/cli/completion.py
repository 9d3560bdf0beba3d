# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns completion`: a script that completes commands, flags and files in a shell."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import shtab

from ksd_ddns.cli import arguments, options, output
from ksd_ddns.config.settings import Settings

_PATHS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.PlainOptions):
    """Options of `completion`."""

    shell: str = options.flag("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")


def main(asked: Options) -> int:
    """Print the script."""
    parser = arguments.full_parser()
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined] # where shtab looks
        field = Settings.model_fields.get(action.dest)
        kind = field.annotation if field is not None else None
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            action.choices = [member.value for member in kind]
    output.lines(shtab.complete(parser, shell=asked.shell).splitlines())
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield all actions of a parser and its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)

# SPDX-License-Identifier: Apache-2.0
"""The help of a command: short, with the settings that most setups need, or in full."""

import argparse
import textwrap
from collections.abc import Collection, Iterator

_INDENT = "  "


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with unwrapped descriptions, and a wide column for flags."""

    def __init__(self, prog: str, *, column: int = 34) -> None:
        super().__init__(prog, max_help_position=column)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument; the names of commands are indented once more than the argument that they belong to."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2 * self._indent_increment

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(self._format_action(command) for command in action._get_subactions())
        return super()._format_action(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {_value(action)}"

    @property
    def width(self) -> int:
        """The number of columns."""
        return self._width


class _ShortFormatter(Formatter):
    """Help that fits on a screen: a long flag has its own line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, column=25)


def line(parser: argparse.ArgumentParser) -> str:
    """Return the usage of a command: its arguments, and its required flags."""
    words = [parser.prog]
    required = [action for action in parser._actions if action.option_strings and action.required]
    words.extend(f"{action.option_strings[-1]} {_value(action)}" for action in required)
    words.append("[OPTIONS]")
    words.extend(_value(action) for action in parser._actions if not action.option_strings)
    return " ".join(words)


def _value(action: argparse.Action) -> str:
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def text(parser: argparse.ArgumentParser) -> str:
    """Return the full help."""
    formatter = _formatter(parser, Formatter)
    for group in parser._action_groups:
        _add_section(formatter, group.title, group._group_actions)
    formatter.add_text(parser.epilog)
    return formatter.format_help()


def short_text(parser: argparse.ArgumentParser, used_first: Collection[str], epilog: str) -> str:
    """Return the help with the flags of the command and the settings `used_first`; the others are only listed."""
    formatter = _formatter(parser, _ShortFormatter)
    groups = [(group, group._group_actions) for group in parser._action_groups]
    own = (parser._positionals, parser._optionals)
    for group, actions in groups:
        if group in own:
            _add_section(formatter, group.title, actions)
    settings = {group.title: actions for group, actions in groups if group not in own}
    known = {action.dest: action for actions in settings.values() for action in actions}
    _add_section(formatter, "settings that most setups need", [known[name] for name in used_first])
    others = {
        title: [action for action in actions if action.dest not in used_first] for title, actions in settings.items()
    }
    formatter.start_section("other settings (--help-all describes them)")
    formatter.add_text("\n".join(_named(others, formatter.width - len(_INDENT))))
    formatter.end_section()
    formatter.add_text(epilog)
    return formatter.format_help()


def _named(settings: dict[str | None, list[argparse.Action]], width: int) -> Iterator[str]:
    """Yield the names of the flags of each group."""
    for title, actions in settings.items():
        if actions:
            flags = " ".join(action.option_strings[0] for action in actions)
            yield from textwrap.wrap(
                f"{title}: {flags}", width, subsequent_indent=_INDENT, break_on_hyphens=False, break_long_words=False
            )


def _formatter(parser: argparse.ArgumentParser, kind: type[Formatter]) -> Formatter:
    parser.formatter_class = kind
    formatter = parser._get_formatter()
    assert isinstance(formatter, Formatter)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    formatter.add_text(parser.description)
    return formatter


def _add_section(formatter: Formatter, title: str | None, actions: list[argparse.Action]) -> None:
    formatter.start_section(title)
    formatter.add_arguments(actions)
    formatter.end_section()

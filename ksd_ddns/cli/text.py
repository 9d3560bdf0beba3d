# SPDX-License-Identifier: Apache-2.0
"""Results on standard output: lines, in color on a terminal, and JSON documents."""

from collections.abc import Iterable

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from ksd_ddns.cli import output
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.printable import printable
from ksd_ddns.wire import names
from ksd_ddns.zone.render import document
from ksd_ddns.zone.render.text import DiffLine, Sign

_STYLES = {
    Sign.ADD: Style.parse("green"),
    Sign.DELETE: Style.parse("red"),
    Sign.CHANGE: Style.parse("yellow"),
    Sign.NOT_DONE: Style.parse("magenta"),
}
_BOLD = Style.parse("bold")


def print_heading(chosen: Settings, zone: bytes) -> None:
    """Print the name of `zone` if there are several zones."""
    if len(zones.bases(chosen)) > 1:
        print_bold(f"Zone {names.to_text(zone)}")


def print_json(zones: Iterable[dict[str, object]], *, exit_code: int | None = None) -> None:
    """Print one document for all `zones`. Raises OutputError."""
    output.document(document.document(zones, exit_code=exit_code))


def print_diff(lines: Iterable[DiffLine]) -> None:
    """Print the lines of a diff, on a color terminal in the colors of their signs. Raises OutputError."""
    _print_styled((_STYLES[line.sign], str(line)) for line in lines)


def print_bold(line: str) -> None:
    """Print a line in bold. Raises OutputError."""
    _print_styled([(_BOLD, line)])


def _print_styled(lines: Iterable[tuple[Style, str]]) -> None:
    console = Console()
    if not output.is_terminal() or console.color_system is None or console.no_color:
        output.lines(line for _, line in lines)
        return
    with output.stdout() as stream:
        # Without rich's own print, which takes a minute for 100,000 lines.
        for style, line in lines:
            stream.write(style.render(printable(line), color_system=ColorSystem.STANDARD) + "\n")

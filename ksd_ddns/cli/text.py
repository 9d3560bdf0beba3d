"""Results on standard output: lines, in colour on a terminal, and JSON documents."""

from collections.abc import Iterable

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from ksd_ddns.cli import output
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.printable import printable
from ksd_ddns.wire import names
from ksd_ddns.zone import render

_STYLES = {
    "+": Style.parse("green"),
    "-": Style.parse("red"),
    "~": Style.parse("yellow"),
    "!": Style.parse("magenta"),
}
_PLAIN = Style.parse("bold")


def print_heading(chosen: Settings, zone: bytes) -> None:
    """Print the name of `zone` if there are several zones."""
    if len(zones.bases(chosen)) > 1:
        print_lines([(" ", f"Zone {names.to_text(zone)}")])


def print_json(zones: Iterable[dict[str, object]]) -> None:
    """Print one document for all `zones`. Raises OutputError."""
    output.document(render.document(zones))


def print_lines(lines: Iterable[render.Line]) -> None:
    """Print lines, on a colour terminal in the colours of their signs. Raises OutputError."""
    console = Console()
    if not output.is_terminal() or console.color_system is None or console.no_color:
        output.lines(line for _, line in lines)
        return
    with output.stdout() as stream:
        # Rendered by hand: rich's own print takes a minute for 100,000 lines.
        for sign, line in lines:
            stream.write(_STYLES.get(sign, _PLAIN).render(printable(line), color_system=ColorSystem.STANDARD) + "\n")

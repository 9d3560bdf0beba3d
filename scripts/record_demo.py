#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run scripts/demo.py on a terminal and write what it shows to docs/images/demo.svg, an animation without scripts.

The text is that of the run, except for the temporary directory and the free port, which differ each time. The pace is
not: lines follow quickly, and each command and each heading waits long enough to be read. A viewer that shows no
animation, or whose user wants none, shows the last screen.
"""

import html
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COLUMNS, ROWS = 92, 26
LINE, MARGIN, BAR = 18, 14, 30  # pixels: height of a line, space around the text, height of the title bar
CHARACTER = 7.83  # width at 13 px
HEADING_SECONDS, COMMAND_SECONDS, LINE_SECONDS, END_SECONDS = 1.4, 0.9, 0.04, 5.0

CLASSES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}
"""Parameter of the escape sequence that selects a style -> class in the picture."""

STYLE = """\
.page { fill: #0d1117; stroke: #30363d; }
.bar, .cover { fill: #161b22; }
.cover { fill: #0d1117; }
text { fill: #e6edf3; font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre; }
.name { fill: #9da7b3; }
.b { font-weight: 700; }
.d { fill: #9da7b3; }
.r { fill: #ff7b72; }
.g { fill: #7ee787; }
.y { fill: #e3b341; }
.c { fill: #79c0ff; }
"""


@dataclass(frozen=True)
class Span:
    """Text in one style."""

    text: str
    classes: tuple[str, ...] = ()


def recorded(command: list[str]) -> str:
    """Return the output of `command` on a terminal. Raises CalledProcessError if it fails."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment, cwd=ROOT
    )
    os.close(theirs)
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    code = process.wait()
    output = b"".join(pieces).decode()
    if code:
        print(output, file=sys.stderr)
        raise subprocess.CalledProcessError(code, command)
    return output


def same_each_time(output: str) -> str:
    """Return the output with the directory and the port of the status page that every run has."""
    output = re.sub(r"/tmp/ksd-ddns-demo\.\w+", "/tmp/demo", output)  # noqa: S108 - text, not a file
    port = re.search(r"--status-address 127\.0\.0\.1:(\d+)", output)
    return output.replace(f":{port[1]}", ":8081") if port else output


def lines(output: str) -> list[list[Span]]:
    """Return the lines of a terminal's output. Raises ValueError for an escape sequence that is not a known style."""
    found: list[list[Span]] = []
    classes: tuple[str, ...] = ()
    for line in output.replace("\r\n", "\n").strip("\n").split("\n"):
        spans: list[Span] = []
        width = 0
        for piece in re.split(r"(\x1b\[[\d;]*m)", line):
            if piece.startswith("\x1b"):
                codes = [code for code in piece[2:-1].split(";") if code not in {"", "0"}]
                if unknown := [code for code in codes if code not in CLASSES]:
                    raise ValueError(f"unknown style {unknown}")
                classes = tuple(CLASSES[code] for code in codes)
            elif piece:
                expanded = (" " * width + piece).expandtabs()[width:]
                width += len(expanded)
                spans.append(Span(expanded, classes))
        found.append(spans)
    return found


def moments(text: list[list[Span]]) -> list[float]:
    """Return the second at which each line appears, and at last the second at which all begins again."""
    now, found = 0.5, []
    for spans in text:
        plain = "".join(span.text for span in spans)
        if any("c" in span.classes for span in spans):
            now += HEADING_SECONDS
        elif plain.startswith("$ "):
            now += COMMAND_SECONDS
        else:
            now += LINE_SECONDS
        found.append(now)
    return [*found, now + END_SECONDS]


def keyframes(name: str, times: list[float], shifts: list[int]) -> str:
    """Return the CSS that moves something down to `shifts[i]` pixels at `times[i]`, until the last of `times`."""
    steps = [f"0% {{ transform: translateY({shifts[0]}px); }}"]
    for before, shift, time in zip(shifts, shifts[1:], times, strict=False):
        if shift != before:
            steps.append(f"{100 * time / times[-1]:.3f}% {{ transform: translateY({shift}px); }}")
    steps.append(f"100% {{ transform: translateY({shifts[-1]}px); }}")
    return f"@keyframes {name} {{ {' '.join(steps)} }}\n"


def picture(text: list[list[Span]]) -> str:
    """Return the SVG."""
    times = moments(text)
    counts = range(len(text) + 1)
    scrolled = [-LINE * max(0, count - ROWS) for count in counts]
    uncovered = [LINE * min(count, ROWS) for count in counts]
    width, height = round(COLUMNS * CHARACTER) + 2 * MARGIN, BAR + ROWS * LINE + 2 * MARGIN
    style = STYLE + (
        f".text {{ transform: translateY({scrolled[-1]}px); }}\n"
        f".cover {{ transform: translateY({uncovered[-1]}px); }}\n"
        "@media (prefers-reduced-motion: no-preference) {\n"
        f".text {{ animation: scroll {times[-1]:.2f}s step-end infinite; }}\n"
        f".cover {{ animation: show {times[-1]:.2f}s step-end infinite; }}\n"
        "}\n" + keyframes("scroll", times, scrolled) + keyframes("show", times, uncovered)
    )
    body = "\n".join(
        f'<text x="{MARGIN}" y="{LINE * number + LINE - 5}">{"".join(map(_tspan, spans))}</text>'
        for number, spans in enumerate(text)
        if spans
    )
    top = BAR + MARGIN
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title description">
<title id="title">make demo</title>
<desc id="description">A terminal. make demo starts a name server, plans and applies the records of the example VMs,
queries them, changes an address, and lets the controller follow a change. Every answer is right.</desc>
<!-- Written by scripts/record_demo.py. -->
<style>
{style}</style>
<defs><clipPath id="screen"><rect x="0" y="{top}" width="{width}" height="{ROWS * LINE}"/></clipPath></defs>
<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>
<path class="bar" d="M1 {BAR}V9q0-8 8-8h{width - 18}q8 0 8 8v{BAR - 9}z"/>
<text class="name" x="{width // 2}" y="20" text-anchor="middle">$ make demo</text>
<g clip-path="url(#screen)"><g transform="translate(0 {top})">
<g class="text">
{body}
</g>
<rect class="cover" x="1" y="0" width="{width - 2}" height="{ROWS * LINE}"/>
</g></g>
</svg>
"""


def _tspan(span: Span) -> str:
    text = html.escape(span.text, quote=False)
    return f'<tspan class="{" ".join(span.classes)}">{text}</tspan>' if span.classes else text


def main() -> None:
    """Record the demo."""
    output = recorded([sys.executable, str(ROOT / "scripts" / "demo.py"), *sys.argv[1:]])
    PICTURE.write_text(picture(lines(same_each_time(output))), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()

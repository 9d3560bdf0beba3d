# SPDX-License-Identifier: Apache-2.0
"""A table as text: aligned columns, and details of each row that are wrapped to the width."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from ksd_ddns.printable import printable

_GAP = "  "
_NARROWEST = 60
_INDENT = " " * 4


def table(heading: Sequence[str], rows: Sequence[Sequence[Sequence[str]]], *, width: int | None) -> Iterator[str]:
    """Yield the lines of a table. Each cell is a sequence of lines; in the last cell, all but the first are details.

    Lines have at most `width` characters where words allow it (None: any number). If the last column is narrower than
    60 characters, the details follow their row over the full width. A detail that starts with "fix: " is indented
    when it is wrapped.
    """
    rows = [[[printable(line) for line in cell] for cell in row] for row in rows]  # escapes are longer
    columns = [
        max([len(text), *(len(line) for row in rows for line in row[index])]) for index, text in enumerate(heading[:-1])
    ]
    room = None if width is None else max(_NARROWEST, width - sum(columns) - len(_GAP) * len(columns))
    below = room is not None and width is not None and room > width - sum(columns) - len(_GAP) * len(columns)
    yield _line([*heading], columns)
    for row in rows:
        first, *details = row[-1]
        inside = [first] if below else [part for line in row[-1] for part in _wrapped(line, room)]
        cells = [*row[:-1], inside]
        for index in range(max(len(cell) for cell in cells)):
            yield _line([cell[index] if index < len(cell) else "" for cell in cells], columns)
        if below and width is not None:
            for line in details:
                yield from (_INDENT + part for part in _wrapped(line, max(_NARROWEST, width) - len(_INDENT)))


def _line(cells: Sequence[str], columns: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, columns, strict=False)]
    return _GAP.join([*padded, cells[-1]]).rstrip()


def _wrapped(line: str, room: int | None) -> list[str]:
    if room is None or len(line) <= room:
        return [line]
    indent = " " * len("fix: ") if line.startswith("fix: ") else ""
    return wrap(line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)

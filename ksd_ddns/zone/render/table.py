"""A table as text: aligned columns, and a last column that is wrapped to the width."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

_GAP = "  "
_NARROWEST = 30


def table(heading: Sequence[str], rows: Sequence[Sequence[Sequence[str]]], *, width: int | None) -> Iterator[str]:
    """Yield the lines of a table. Each cell is a sequence of lines.

    The last column is wrapped so that lines have at most `width` characters (None: it is not), but never narrower than
    30 characters. A line that starts with "fix: " is indented when it is wrapped.
    """
    columns = [
        max([len(text), *(len(line) for row in rows for line in row[index])]) for index, text in enumerate(heading[:-1])
    ]
    room = None if width is None else max(_NARROWEST, width - sum(columns) - len(_GAP) * len(columns))
    yield _line([*heading], columns)
    for row in rows:
        last = [part for line in row[-1] for part in _wrapped(line, room)]
        cells = [*row[:-1], last]
        for index in range(max(len(cell) for cell in cells)):
            yield _line([cell[index] if index < len(cell) else "" for cell in cells], columns)


def _line(cells: Sequence[str], columns: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, columns, strict=False)]
    return _GAP.join([*padded, cells[-1]]).rstrip()


def _wrapped(line: str, room: int | None) -> list[str]:
    if room is None or len(line) <= room:
        return [line]
    indent = " " * len("fix: ") if line.startswith("fix: ") else ""
    return wrap(line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)

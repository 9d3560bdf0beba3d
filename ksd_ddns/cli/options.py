# SPDX-License-Identifier: Apache-2.0
"""Options of a command: a dataclass whose fields name the flags that set them.

Each command's module has an `Options` of its own, derived from one here; `cli.arguments` builds the parser from it.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, ClassVar


def flag(*names: str, default: Any = MISSING, **arguments: Any) -> Any:
    """Return the field that the flag `names` sets; `arguments` are those of argparse's `add_argument`.

    A name without hyphens is a positional argument. Without a default, flag and argument are required.
    """
    metadata = {"names": names, "arguments": arguments}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOptions:
    """Options of a command without settings."""

    verbose: bool = flag("-v", "--verbose", default=False, action="store_true", help="log every step to standard error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(PlainOptions):
    """Options of a command with settings: `cli.settings.load` makes its settings from them.

    `flags` are the settings given as flags, by field name.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """The settings that the command has flags for; empty means all."""

    flags: Mapping[str, Any]
    config: Path | None = flag(
        "--config", default=None, type=Path, metavar="FILE", help="also read settings from this TOML file"
    )


def source_flag(
    text: str = "read VMIs from FILE (kubectl get vmi -A -o yaml|json), not the cluster; - for stdin; repeatable",
) -> Any:
    """Return the field for the files that VMIs are read from; `text` is its help."""
    return flag("--from", default=(), action="append", metavar="FILE", help=text)


def output_flag(*formats: str) -> Any:
    """Return the field for the output format, the first of `formats` by default."""
    *others, last = formats[1:]
    text = f"output format: {', '.join([f'{formats[0]} (default)', *others])} or {last}"
    return flag("-o", "--output", default=formats[0], choices=formats, metavar="FORMAT", help=text)

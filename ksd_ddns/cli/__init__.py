"""The command line: `ksd-ddns` and `python -m ksd_ddns`."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from ksd_ddns.cli import arguments, log
from ksd_ddns.cli.arguments import Options
from ksd_ddns.errors import KsdError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's arguments) asks for; return its exit code."""
    collect_seldom()
    options = arguments.parse(argv)
    signal.signal(signal.SIGTERM, _stopped if options.command == "run" else _terminated)
    log.set_up(verbose=options.verbose, lines=options.command == "run")
    try:
        code = _command(options.command)(options)
        sys.stdout.flush()
    except KsdError as e:
        for line in str(e).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        print("interrupted: what was sent before is in the zone, run the command again to finish", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has seen enough; the interpreter must not fail at its last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    finally:
        log.flush()
    return code


def _command(name: str) -> Callable[[Options], int]:
    """Return what does a command. The controller starts without what only the others need."""
    if name == "run":
        from ksd_ddns.cli.run import run  # noqa: PLC0415

        return run
    from ksd_ddns.cli.commands import COMMANDS  # noqa: PLC0415

    return COMMANDS[name]


def collect_seldom() -> None:
    """Let the garbage collector pass the time of big lists: it doubles it, and nothing here goes in circles."""
    gc.freeze()
    gc.set_threshold(500_000, 50, 100)


def _stopped(signum: int, frame: FrameType | None) -> NoReturn:
    """End in good order: nothing was begun yet."""
    raise SystemExit(0)


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)

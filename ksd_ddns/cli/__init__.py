# SPDX-License-Identifier: Apache-2.0
"""The command line: from arguments to an exit code. Nothing that takes time is imported before it is needed."""

import gc
import signal
import sys

from ksd_ddns.cli import signals

TYPE_CHECKING = False  # importing typing takes longer than everything else here
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ksd_ddns.cli.arguments import Asked
    from ksd_ddns.cli.timing import Timing


def main(argv: "Sequence[str] | None" = None, *, timing: "Timing | None" = None) -> int:
    """Run the command that `argv` (by default the process's arguments) asks for; return its exit code.

    `timing` replaces the durations of the controller.
    """
    argv = sys.argv[1:] if argv is None else argv
    signals.end_at_once(controller=argv[:1] == ["run"])
    collect_seldom()
    from ksd_ddns.cli import arguments, output  # noqa: PLC0415 the handlers come first

    def command() -> int:
        try:
            asked = arguments.parse(argv)
        except SystemExit as e:  # --help, --version, wrong arguments
            return e.code if isinstance(e.code, int) else 0
        return _run(asked, timing)

    return output.run(command)


def _run(asked: "Asked", timing: "Timing | None") -> int:
    """Run the command; return the exit code. Raises OutputError."""
    from ksd_ddns.cli import log, output  # noqa: PLC0415 as above
    from ksd_ddns.errors import KsdError  # noqa: PLC0415 as above

    try:
        log.set_up(verbose=asked.options.verbose, lines=asked.name == "run")
        if asked.name != "run":  # `run` sets its own handlers once the controllers exist
            signals.interrupt()
        if timing is not None:  # only `run` takes it
            return asked.command.main(asked.options, timing)
        return asked.command.main(asked.options)
    except KsdError as e:
        output.say("\n".join(f"error: {line}" for line in str(e).split("\n")))
        return e.exit_code
    except signals.Interrupted as e:
        sent = ": the updates sent so far are in the zone; run apply again to finish" if asked.name == "apply" else ""
        output.say(f"interrupted by {signal.Signals(e.number).name}{sent}")
        return e.exit_code
    finally:
        log.flush()


def collect_seldom() -> None:
    """Make garbage collection rare: it doubles the time to build large lists, and reference cycles are few."""
    gc.freeze()
    gc.set_threshold(500_000, 50, 100)

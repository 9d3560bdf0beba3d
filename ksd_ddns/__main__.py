# SPDX-License-Identifier: Apache-2.0
"""The program `ksd-ddns`, and `python -m ksd_ddns`: the process around a command.

The signal handlers are installed first, then the slow imports follow. Whatever happens, the process ends with a
meaningful exit code and without a traceback.
"""

import os
import sys

try:
    from ksd_ddns.cli import signals
except KeyboardInterrupt:  # no signal handlers yet
    os._exit(130)

TYPE_CHECKING = False  # typing takes longer to import than all that is needed here
if TYPE_CHECKING:
    import threading
    from types import TracebackType

BUG = 70
"""The exit code of a bug (EX_SOFTWARE of sysexits.h)."""


def main() -> int:
    """Run the command of the process's arguments; return its exit code."""
    signals.end_at_once(controller=sys.argv[1:2] == ["run"])
    _open_standard_streams()
    code = BUG
    try:
        try:
            code = _run()
        finally:
            signals.ignore()
    except signals.Interrupted as e:  # between the end of the command and here
        code = e.exit_code
    except BaseException as e:  # noqa: BLE001 the last resort
        code = e.code if isinstance(e, SystemExit) and isinstance(e.code, int) else _bug(type(e), e, e.__traceback__)
    _release_standard_streams()
    return code


def _run() -> int:
    import threading  # noqa: PLC0415 the handlers come first

    from ksd_ddns.cli import main as command  # noqa: PLC0415 as above

    threading.excepthook = _thread_bug
    sys.unraisablehook = _unraisable
    return command()


def _open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 if they are closed: a socket with such a number would receive what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 for good
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _release_standard_streams() -> None:
    """Let the interpreter's last flush succeed: a failure there would replace the exit code by 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if stream is sys.stdout else 2)


def _bug(kind: type[BaseException], error: BaseException | None, at: "TracebackType | None", where: str = "") -> int:
    """Report an unexpected exception in one line; return the exit code.

    Its message is not shown, because it may contain a secret. With --verbose the stack is.
    """
    import traceback  # noqa: PLC0415 seldom needed

    frames = traceback.extract_tb(at)
    ours = [frame for frame in frames if "ksd_ddns" in frame.filename and "__main__" not in frame.filename]
    last = ours[-1] if ours else (frames[-1] if frames else None)
    place = f"{os.path.basename(last.filename)}:{last.lineno} in {last.name}" if last else "an unknown place"  # noqa: PTH119
    what = kind.__name__
    if isinstance(error, OSError) and error.errno:
        what += f" ({os.strerror(error.errno)})"
    elif isinstance(error, ImportError) and error.name:
        what += f" ({error.name})"
    lines = [f"BUG: {what} at {place}{where}, please report it"]
    if {"-v", "--verbose"} & set(sys.argv):
        lines += ["".join(traceback.format_list(frames)).rstrip()]
    try:
        if sys.stderr is not None:
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()
    except (OSError, ValueError):
        pass
    return BUG


def _thread_bug(args: "threading.ExceptHookArgs") -> None:
    if args.exc_type is not SystemExit:
        _bug(args.exc_type, args.exc_value, args.exc_traceback, f" (thread {args.thread.name if args.thread else '?'})")


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    """Hide exceptions in destructors and at shutdown, which have no consequences, except with --verbose."""
    if {"-v", "--verbose"} & set(sys.argv) and not isinstance(args.exc_value, signals.Interrupted):
        _bug(args.exc_type, args.exc_value, args.exc_traceback, " (in a destructor)")


if __name__ == "__main__":
    sys.exit(main())

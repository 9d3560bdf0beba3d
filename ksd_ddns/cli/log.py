"""Logs: readable text on a terminal and for one-shot commands, one JSON object a line for a controller in a pod."""

import json
import logging
import sys
from datetime import UTC, datetime

from ksd_ddns.zone.text import printable


class _Json(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Text(logging.Formatter):
    """Text for people: what others wrote is printable."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's name
        """Return the line without its traceback."""
        return printable(super().formatMessage(record))


def set_up(*, verbose: bool, lines: bool) -> None:
    """Log to standard error: as JSON where `lines` are asked for and it is no terminal; all of it where `verbose`."""
    logging.raiseExceptions = False  # a line that cannot be written is lost, and no traceback takes its place
    handler = logging.StreamHandler(sys.stderr)
    if lines and not sys.stderr.isatty():
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(_Text("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.INFO if verbose or lines else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])

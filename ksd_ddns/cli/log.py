"""Logs: readable text on a terminal and for one-shot commands, one JSON object a line for a controller in a pod."""

import json
import logging
import sys
from datetime import UTC, datetime


class _Json(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(*, verbose: bool, lines: bool) -> None:
    """Log to standard error: as JSON where `lines` are asked for and it is no terminal; all of it where `verbose`."""
    handler = logging.StreamHandler(sys.stderr)
    if lines and not sys.stderr.isatty():
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.INFO if verbose or lines else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])

"""What the owners of VMIs are told is in the log, too: once for each VMI and reason, and no flood of it."""

import logging
import threading
import time
from collections import Counter, OrderedDict

from ksd_ddns.sync.remarks import Say
from ksd_ddns.zone.notification import Remark, Said

REMEMBERED = 20_000
"""Remarks that are remembered, so that none is logged twice."""

FORGOTTEN_AFTER = 3600.0
"""Seconds without a remark after which it is news again: meanwhile its cause was gone."""

AT_ONCE = 50
"""Lines that may come at once; after them one a second, and what is more is counted."""

SUMMARY_EVERY = 10.0
"""Seconds between two lines that count what was not logged."""

_ELSEWHERE = frozenset({"UpdateRefused"})
"""What the controller logs itself, grouped by cause."""

_TEXTS = {"NameConflict": "name conflict", "NotPublished": "VMI not fully published"}

_log = logging.getLogger(__name__)


class Remarks:
    """Takes remarks from any thread, logs the warnings among them, and hands all on to `also`; until `stop` is set."""

    def __init__(self, stop: threading.Event, also: Say | None = None) -> None:
        self._also = also
        self._lock = threading.Lock()
        self._logged: OrderedDict[Remark, float] = OrderedDict()
        self._allowed = float(AT_ONCE)
        self._refilled = time.monotonic()
        self._left_out: Counter[str] = Counter()
        threading.Thread(target=self._run, args=(stop,), name="remarks", daemon=True).start()

    def __call__(self, remark: Said) -> None:
        """Take a remark; the same one may come again and again."""
        if self._also is not None:
            self._also(remark)
        if not isinstance(remark, Remark) or remark.reason in _ELSEWHERE:
            return
        with self._lock:
            now = time.monotonic()
            before = self._logged.pop(remark, None)
            self._logged[remark] = now
            if before is not None and now - before < FORGOTTEN_AFTER:
                return
            if len(self._logged) > REMEMBERED:
                self._logged.popitem(last=False)
            self._allowed = min(AT_ONCE, self._allowed + now - self._refilled)
            self._refilled = now
            if self._allowed < 1:
                self._left_out[remark.reason] += 1
                return
            self._allowed -= 1
        text = _TEXTS.get(remark.reason, remark.reason)
        _log.warning(text, extra={"fields": {"vmi": remark.vmi, "reason": remark.reason, "cause": remark.text}})

    def summarize(self) -> None:
        """Log how much was not logged one by one since the last time."""
        with self._lock:
            left_out, self._left_out = self._left_out, Counter()
        for reason, count in sorted(left_out.items()):
            _log.warning(
                "more warnings about VMIs, see the status page", extra={"fields": {"reason": reason, "count": count}}
            )

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(SUMMARY_EVERY):
            self.summarize()

# SPDX-License-Identifier: Apache-2.0
"""Notifications -> log lines: each warning once, at a limited rate."""

import logging
import threading
import time
from collections import Counter, OrderedDict

from ksd_ddns.sync.notifications import Notify
from ksd_ddns.zone.notification import Notification, VmiWarning

REMEMBERED = 20_000
"""Maximum number of warnings to remember, so that none is logged twice."""

FORGOTTEN_AFTER = 3600.0
"""Seconds after which a repeated warning is logged again."""

AT_ONCE = 50
"""Maximum lines in a burst. After it, one line per second is logged, and the others are counted."""

SUMMARY_EVERY = 10.0
"""Seconds between two lines with the number of warnings not logged."""

_LOGGED_BY_CONTROLLER = frozenset({"UpdateRefused"})
"""Reasons that the controller logs itself, grouped by cause."""

_TEXTS = {"NameConflict": "name conflict", "NotPublished": "VMI not fully published"}

_log = logging.getLogger(__name__)


class NotificationLog:
    """Logs the warnings among notifications, and passes all of them to `also`, until `stop` is set; thread-safe."""

    def __init__(self, stop: threading.Event, also: Notify | None = None) -> None:
        self._also = also
        self._lock = threading.Lock()
        self._logged: OrderedDict[VmiWarning, float] = OrderedDict()
        self._allowed = float(AT_ONCE)
        self._refilled = time.monotonic()
        self._left_out: Counter[str] = Counter()
        threading.Thread(target=self._run, args=(stop,), name="notifications", daemon=True).start()

    def __call__(self, notification: Notification) -> None:
        """Process a notification; the same one may come several times."""
        if self._also is not None:
            self._also(notification)
        if not isinstance(notification, VmiWarning) or notification.reason in _LOGGED_BY_CONTROLLER:
            return
        with self._lock:
            now = time.monotonic()
            before = self._logged.pop(notification, None)
            self._logged[notification] = now
            if before is not None and now - before < FORGOTTEN_AFTER:
                return
            if len(self._logged) > REMEMBERED:
                self._logged.popitem(last=False)
            self._allowed = min(AT_ONCE, self._allowed + now - self._refilled)
            self._refilled = now
            if self._allowed < 1:
                self._left_out[notification.reason] += 1
                return
            self._allowed -= 1
        text = _TEXTS.get(notification.reason, notification.reason)
        _log.warning(
            text, extra={"fields": {"vmi": notification.vmi, "reason": notification.reason, "cause": notification.text}}
        )

    def summarize(self) -> None:
        """Log the number of warnings that were not logged since the last time."""
        with self._lock:
            left_out, self._left_out = self._left_out, Counter()
        for reason, count in sorted(left_out.items()):
            _log.warning(
                "more warnings about VMIs, see the status page", extra={"fields": {"reason": reason, "count": count}}
            )

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(SUMMARY_EVERY):
            self.summarize()

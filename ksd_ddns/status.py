"""Health, readiness, metrics and the status page over HTTP, all from immutable snapshots of the controller."""

import html
import json
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import accumulate
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ksd_ddns.errors import SettingsError
from ksd_ddns.serving import PATIENCE, Bounded
from ksd_ddns.snapshot import LATENCY_BUCKETS, Snapshot

_log = logging.getLogger(__name__)


Snapshots = Callable[[], tuple[Snapshot, ...]]

_GAUGES: tuple[tuple[str, str, Callable[[Snapshot], int]], ...] = (
    ("synced", "1 once the zone has been brought to what the cluster says", lambda now: now.synced),
    ("ready", "1 while nothing is wrong", lambda now: not now.complaints),
    ("vmis", "VMIs that are known", lambda now: now.vmis),
    ("names", "Owner names that are wanted in the zone", lambda now: now.names),
    ("conflicts", "Wanted names that somebody else has", lambda now: len(now.conflicts)),
    ("refused_names", "Names that the primary does not take", lambda now: len(now.refused)),
    ("kept_back_withdrawals", "Withdrawals that the withdrawal cap keeps back", lambda now: now.kept_back),
    ("held_families", "Address families that vanished and are held", lambda now: now.held),
    ("pending_names", "Names that are to be looked at again", lambda now: now.pending),
    ("zone_serial", "Serial of the zone, as last read", lambda now: now.serial),
)

_COUNTERS: tuple[tuple[str, str, str, Callable[[Snapshot], dict[str, int]]], ...] = (
    ("changes", "Names added, changed and withdrawn", "kind", lambda now: now.applied),
    ("update_outcomes", "Names sent, by what became of them", "result", lambda now: now.outcomes),
    ("transfers", "Zone transfers", "kind", lambda now: now.transfers),
    ("events", "Lists and changes of VMIs heard", "kind", lambda now: now.events),
)


class Metrics(Collector):
    """The snapshots as Prometheus metrics, one series a zone; docs/reference/metrics.md lists them."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        snapshots = self._snapshots()
        for name, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"ksd_ddns_{name}", text, labels=["zone"])
            for now in snapshots:
                gauge.add_metric([now.zone], value(now))
            yield gauge
        for name, text, label, counts in _COUNTERS:
            counter = CounterMetricFamily(f"ksd_ddns_{name}", text, labels=["zone", label])
            for now in snapshots:
                for key, count in sorted(counts(now).items()):
                    counter.add_metric([now.zone, key], count)
            yield counter
        text = "Seconds from a change being heard to the primary's answer"
        histogram = HistogramMetricFamily("ksd_ddns_change_seconds", text, labels=["zone"])
        for now in snapshots:
            bounds = (*map(str, LATENCY_BUCKETS), "+Inf")
            buckets = list(zip(bounds, accumulate(now.latencies), strict=True))
            histogram.add_metric([now.zone], buckets, now.latency_sum)
        yield histogram


class StatusServer:
    """Serves the snapshots on one address; an empty host is every address."""

    def __init__(self, host: str, port: int, snapshots: Snapshots) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Metrics(snapshots))

        class Handler(_Handler):
            pages = _Pages(snapshots, registry)

        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 kubelet asks the pod's address

        class Server(Bounded, HTTPServer):
            address_family = socket.AF_INET6 if ":" in (host or everywhere) else socket.AF_INET

        try:
            self._server = Server((host or everywhere, port), Handler)
        except OSError as e:
            raise SettingsError(f"STATUS_ADDRESS = {host}:{port}: cannot listen there: {e.strerror or e}") from e
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Begin to serve, on a thread of its own."""
        Thread(target=self._server.serve_forever, name="status", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Pages:
    def __init__(self, snapshots: Snapshots, registry: CollectorRegistry) -> None:
        self._snapshots = snapshots
        self._registry = registry

    def page(self, path: str, query: dict[str, list[str]]) -> tuple[HTTPStatus, str, bytes]:
        """Return status, content type and body of the page at `path`."""
        if path == "/healthz":
            return HTTPStatus.OK, "text/plain", b"ok\n"
        if path == "/readyz":
            return self._readiness(query.get("exclude", []))
        if path == "/metrics":
            return HTTPStatus.OK, exposition.CONTENT_TYPE_LATEST, exposition.generate_latest(self._registry)
        if path == "/":
            return HTTPStatus.OK, "text/html", self._overview().encode(errors="backslashreplace")
        return HTTPStatus.NOT_FOUND, "text/plain", b"there are /healthz /readyz /metrics and /\n"

    def _readiness(self, excluded: list[str]) -> tuple[HTTPStatus, str, bytes]:
        """As the Kubernetes API server does it: one line a check, `?exclude=source` leaves one out."""
        lines, wrong = [], False
        for now in self._snapshots():
            for part, text in now.complaints.items():
                ignored = part in excluded
                wrong |= not ignored
                lines.append(f"[{' ' if ignored else '-'}] {part}{now.zone and f' of {now.zone}'}: {text}")
        lines.append("not ready" if wrong else "ok")
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return status, "text/plain", ("\n".join(lines) + "\n").encode(errors="backslashreplace")

    def _overview(self) -> str:
        tables = []
        for now in self._snapshots():
            rows = []
            for name, value in asdict(now).items():
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                rows.append(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>")
            tables.append(f"<table>{''.join(rows)}</table>")
        return (
            "<!doctype html><html lang=en><meta charset=utf-8><title>ksd-ddns</title>"
            "<style>body{font-family:sans-serif}th{text-align:left;vertical-align:top;padding-right:1em}</style>"
            f"<h1>ksd-ddns</h1>{''.join(tables)}</html>"
        )


class _Handler(BaseHTTPRequestHandler):
    pages: _Pages
    timeout = PATIENCE
    server_version = "ksd-ddns"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        status, content_type, body = self.pages.page(url.path, query)
        self.send_response(status)
        self.send_header(
            "Content-Type", content_type if "charset" in content_type else f"{content_type}; charset=utf-8"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
        _log.debug(format, *args)

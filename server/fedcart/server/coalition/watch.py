"""What a coordinator tells its own machine: /health and /metrics (Prometheus' text format) on loopback.

A few counters and gauges of the coalition as a whole: no label names a store, a plan or an item. prometheus-client is
not used: it would be one more dependency of the process that holds the keys, for a page of eight lines, and its default
registry adds what this process should not say of its machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fedcart.shared.errors import FedcartError, InputError

log = logging.getLogger("fedcart.coalition")

LOOPBACK = "127.0.0.1"
HELP = {
    "fedcart_up_seconds": ("gauge", "Seconds since the coordinator began to serve."),
    "fedcart_stores_joined": ("gauge", "Stores that may call."),
    "fedcart_stores_online": ("gauge", "Stores whose node holds its lease."),
    "fedcart_run_active": ("gauge", "1 while a run is in progress."),
    "fedcart_runs_done_total": ("counter", "Runs that ended well."),
    "fedcart_runs_failed_total": ("counter", "Runs that stopped with a reason."),
    "fedcart_rounds_total": ("counter", "Rounds that were finished."),
    "fedcart_round_failures_total": ("counter", "Stores that did not answer a flow of a finished round, or refused."),
    "fedcart_upload_bytes_total": ("counter", "Bytes of stores' uploads in finished rounds."),
    "fedcart_round_seconds": ("gauge", "Seconds of the last finished round."),
    "fedcart_certificate_seconds": ("gauge", "Seconds until the server certificate expires."),
}


class Counters:
    """Counts of one process; safe from any thread."""

    def __init__(self) -> None:
        self._lock, self._began = threading.Lock(), time.monotonic()
        self._values = {name: 0.0 for name, (kind, _) in HELP.items() if kind == "counter"}
        self._last_round, self._active = 0.0, 0

    def running(self, active: bool) -> None:
        """Whether a run is in progress."""
        with self._lock:
            self._active = int(active)

    def ended(self, well: bool) -> None:
        """A run ended."""
        with self._lock:
            self._values["fedcart_runs_done_total" if well else "fedcart_runs_failed_total"] += 1

    def round(self, line: Mapping[str, Any]) -> None:
        """A round was finished; `line` as in rounds.jsonl."""
        with self._lock:
            self._values["fedcart_rounds_total"] += 1
            self._values["fedcart_round_failures_total"] += sum((line.get("failures") or {}).values())
            self._values["fedcart_upload_bytes_total"] += line.get("upload_bytes") or 0
            self._last_round = float(line.get("seconds") or 0.0)

    def text(self, now: Mapping[str, float]) -> str:
        """Prometheus' text format, version 0.0.4. `now`: gauges that are read when asked."""
        with self._lock:
            gauges = {
                "fedcart_up_seconds": time.monotonic() - self._began,
                "fedcart_run_active": self._active,
                "fedcart_round_seconds": self._last_round,
            }
            values = {**self._values, **gauges, **now}
        lines = []
        for name, (kind, words) in HELP.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", f"{name} {values[name]:g}"]
        return "\n".join(lines) + "\n"


class Watch:
    """Serves both on a port of loopback, in a thread of its own. Close it."""

    def __init__(self, port: int, text: Callable[[], str], check: Callable[[], None]) -> None:
        """
        Args:
          port: 0 = any.
          text: the page /metrics.
          check: raises FedcartError where the coordinator cannot do its work. /health then answers 500 `unhealthy`, as
            any page does that cannot be made; the reason is in the log.

        Raises:
          InputError: the port is taken.
        """

        def health() -> str:
            check()
            return "ok\n"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, body = answer(self.path, {"/health": health, "/metrics": text})
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise InputError(
                f"cannot listen on {LOOPBACK} port {port}: {error.strerror}; nothing was started"
            ) from None
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="fedcart-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def answer(path: str, pages: Mapping[str, Callable[[], str]]) -> tuple[int, bytes]:
    """Status and body of one request; what goes wrong is for the operator's log, not for whoever asks."""
    if path not in pages:
        return 404, b""
    try:
        return 200, pages[path]().encode()
    except FedcartError as error:
        log.error("%s: %s", path, error)
    except Exception:
        log.exception("%s could not be made", path)
    return 500, b"unhealthy\n"

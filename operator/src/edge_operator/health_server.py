"""Answers the probes of the kubelet: `/healthz` (liveness) and `/readyz` (readiness), with a JSON body.

It has threads of its own, so that it responds while the event loop does not turn. A probe that fails gets
status 503; the body is the same, and names the problems.

Cost: a thread for each request while it is answered; the steps that run are copied.
"""

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edge_operator.health import State

LIVE, READY = "/healthz", "/readyz"


class HealthServer:
    """Serves until the process ends. host: an IPv4 or IPv6 address. port: 0 for any free one."""

    def __init__(self, host: str, port: int, state: Callable[[], State]) -> None:
        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        self._server = Server((host, port), _handler(state))
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Begins to answer."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()


def _handler(state: Callable[[], State]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path not in (LIVE, READY):
                self.send_error(404)
                return
            found = state()
            failed = found.not_live if path == LIVE else found.not_ready
            body = json.dumps(found.document()).encode() + b"\n"
            self.send_response(503 if failed else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
            """Logs no requests: probes come every few seconds."""

    return Handler

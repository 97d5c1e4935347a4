"""An API server that reviews tokens and does nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AUDIENCE = "edge-model-store"


@dataclass
class Reviewer:
    """users: by token. asked: the specs of the reviews, in order. broken: responds with 500."""

    users: dict[str, str] = field(default_factory=dict)
    audiences: dict[str, list[str]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    broken: bool = False
    url: str = ""

    def account(self, namespace: str, name: str) -> str:
        """Returns a new token of a ServiceAccount."""
        token = f"token-{len(self.users)}"
        self.users[token] = f"system:serviceaccount:{namespace}:{name}"
        return token

    def status(self, spec: dict[str, Any]) -> dict[str, Any]:
        user = self.users.get(spec["token"])
        if user is None:
            return {"authenticated": False, "error": "token has expired"}
        found = {"authenticated": True, "user": {"username": user}}
        return found | {"audiences": self.audiences.get(spec["token"], [AUDIENCE])}


@contextmanager
def reviewing() -> Iterator[Reviewer]:
    """Serves TokenReviews on a free port."""
    reviewer = Reviewer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            right = self.path == "/apis/authentication.k8s.io/v1/tokenreviews"
            reviewer.asked.append(review["spec"])
            reviewer.shown.append(self.headers.get("Authorization", ""))
            status = 500 if reviewer.broken else 201 if right else 404
            body = json.dumps(review | {"status": reviewer.status(review["spec"])} if right else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    reviewer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield reviewer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)

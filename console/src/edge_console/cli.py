"""`edge-console run`: serves the page until SIGTERM."""

import argparse
import contextlib
import datetime
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import uvicorn

from edge_console.api_server import ApiServer
from edge_console.planning import Plans, Times
from edge_console.recent import Samples
from edge_console.sampling import sample_every_minute
from edge_console.server import Console, Server
from edge_console.viewers import Kept, Viewers
from edge_operator import cluster
from edge_operator.errors import OperatorError
from edge_operator.explaining.installed import Installed, installed
from edge_operator.explaining.overlays import Mirrored
from edge_operator.explaining.replanning import READ
from edge_operator.observed.watching import Watching

_SETTINGS_SECONDS = 60.0
_SHUTDOWN_SECONDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return run(parsed)
    except (OperatorError, OSError) as error:
        sys.stderr.write(f"edge-console: {error}\n")
        return 2


def run(parsed: argparse.Namespace) -> int:
    """Serves until SIGTERM. Raises ClusterError without a cluster."""
    client = cluster.client_from_environment()
    watching = Watching(ApiServer(client), READ, parsed.namespace)
    reads = Mirrored(watching.mirror)
    operator = _settings(cluster.ApiServer(client))
    times = Times(time.monotonic, lambda: datetime.datetime.now(datetime.UTC))
    samples = Samples()
    reviews = ThreadPoolExecutor(8, thread_name_prefix="rights")
    viewers = Viewers(ApiServer(client), time.monotonic, reviews)
    console = Console(watching, viewers, Plans(reads, operator, times), samples)
    watching.start()
    sample_every_minute(reads, samples)
    config = uvicorn.Config(
        Server(console).app(),
        ssl_certfile=parsed.tls_cert,
        ssl_keyfile=parsed.tls_key,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        limit_concurrency=256,
    )
    with listening(None if parsed.all_addresses else parsed.host, parsed.port) as socket_:
        uvicorn.Server(config).run(sockets=[socket_])
    watching.stop()
    return 0


def listening(host: str | None, port: int) -> socket.socket:
    """Returns a socket that listens on an address; None: on all of this machine, of both families."""
    if host is None and socket.has_dualstack_ipv6():
        # A kernel can have IPv6 and no address of it.
        with contextlib.suppress(OSError):
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if host is not None and ":" in host else socket.AF_INET
    return socket.create_server((host or "", port), family=family)


def _settings(server: cluster.ApiServer) -> Callable[[], Installed]:
    """Returns a function that reads the operator's settings from its Deployment, at most once a minute."""
    kept = Kept[str, Installed](1, time.monotonic)

    def read() -> Installed:
        found = kept.get("operator")
        if found is None:
            found = installed(os.environ, server)
            kept.put("operator", found, _SETTINGS_SECONDS)
        return found

    return read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-console", description="A read-only web page of the operator.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('edge-console')}")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="serve the page until stopped")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    command.add_argument(
        "--all-addresses", action="store_true", help="listen on every address, not on --host"
    )
    command.add_argument("--port", type=int, default=8080, help="port to listen on (default: 8080)")
    command.add_argument("--namespace", help="show only this namespace (default: all)")
    command.add_argument("--tls-cert", help="file with a certificate, for HTTPS (default: HTTP)")
    command.add_argument("--tls-key", help="file with its key")
    return parser


if __name__ == "__main__":
    sys.exit(main())

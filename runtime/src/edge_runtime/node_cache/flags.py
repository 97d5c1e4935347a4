"""The command `edge-runtime node-cache`, and the flag by which a runtime uses it."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.errors import BadRequest, CannotListen
from edge_runtime.flag_values import count, port, quantity

if TYPE_CHECKING:
    from edge_runtime.tls.certificates import Certificates

_HOST: Final = "address to listen on; :: listens on all IPv6 and IPv4 addresses (default %(default)s)"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Adds the command, without the flags of TLS, and returns it."""
    command = commands.add_parser("node-cache", help="keep slices on this node's disk for its runtimes")
    command.add_argument("--root", type=Path, required=True, help="folder for the blobs")
    command.add_argument("--store", help="address of the model store; required")
    command.add_argument(
        "--give-to",
        type=count,
        metavar="UID",
        help="only give the folder to this user and group, and exit; requires the capability CHOWN",
    )
    command.add_argument(
        "--size",
        type=quantity,
        default="20Gi",
        metavar="QUANTITY",
        help="bytes of all blobs; the least recently used are removed (default %(default)s)",
    )
    command.add_argument(
        "--keep-free",
        type=quantity,
        default="1Gi",
        metavar="QUANTITY",
        help="bytes of the disk that the cache leaves free (default %(default)s)",
    )
    command.add_argument("--host", default="::", help=_HOST)
    command.add_argument("--port", type=port, default=8080, help="0 for a free port (default %(default)s)")
    command.add_argument(
        "--tokens",
        action="store_true",
        help="require ServiceAccount tokens with audience edge-model-store, which the API server reviews, as "
        "a store with --tokens does; a namespace reads what the store has let it read",
    )
    return command


def add_client_flag(run: argparse.ArgumentParser) -> None:
    """Adds the flag of a runtime."""
    run.add_argument(
        "--node-cache",
        default=os.environ.get("EDGE_NODE_CACHE") or None,
        metavar="URL",
        help="address of the node's cache, from which slices are fetched before the model store (default: "
        "none) [$EDGE_NODE_CACHE]",
    )


def run(arguments: argparse.Namespace, certificates: Certificates | None) -> int:
    """Serves until SIGTERM or SIGINT, or gives the folder to a user.

    Raises BadRequest, and CannotListen if the folder cannot be written to.
    """
    import uvloop

    from edge_runtime.node_cache.app import NodeCacheApp
    from edge_runtime.node_cache.upstream import Upstream
    from edge_runtime.store.flags import token_holders
    from edge_runtime.store.serving import store_server

    if arguments.give_to is not None:
        _give(arguments.root, arguments.give_to)
        return 0
    if arguments.store is None:
        raise BadRequest("--store: missing: name the address of the model store")
    if arguments.size <= 0:
        raise BadRequest(f"--size: {arguments.size:g} must be greater than 0: write a quantity such as 20Gi")
    try:
        upstream = Upstream(arguments.store, certificates.client if certificates is not None else None)
    except ValueError as error:
        raise BadRequest(f"--store: {error}") from error
    callers = token_holders() if arguments.tokens else None
    try:
        app = NodeCacheApp(
            arguments.root, int(arguments.size), upstream, callers, kept_free=int(arguments.keep_free)
        )
    except OSError as error:
        raise CannotListen(
            f"--root {arguments.root}: cannot be written to ({error.strerror}): name a folder that "
            f"belongs to user {os.getuid()}"
        ) from error
    if certificates is not None:
        certificates.count_failed(app.metrics.failed_handshake)
    server = store_server(
        app, arguments.host, arguments.port, certificates, arguments.health_port, "the node's cache"
    )

    async def serve() -> None:
        try:
            await server.serve()
        finally:
            await app.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    return 0


def _give(root: Path, user: int) -> None:
    """Makes a folder the property of a user and of the group with the same number."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        found = root.stat()
        if (found.st_uid, found.st_gid) != (user, user):
            os.chown(root, user, user)
    except OSError as error:
        raise BadRequest(
            f"--root {root}: cannot be given to user {user} ({error.strerror}): run as root with the "
            "capability CHOWN"
        ) from error

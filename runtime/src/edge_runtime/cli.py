"""The commands: `run` serves placements, `serve` serves a file, `profile-device` and `profile` measure a
model, `exits` gives it exits, `store` runs the model store, `fetch` reads a model into it, `node-cache`
keeps slices on a node, `serve-node` serves without Kubernetes, `install-unit` and `remove-unit` start a
command with the host.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edge_runtime.errors import BadCertificates, BadRequest, CannotListen, EdgeError
from edge_runtime.exits import flags as exits
from edge_runtime.flag_values import count as _count
from edge_runtime.flag_values import duration as _duration
from edge_runtime.flag_values import port as _port
from edge_runtime.flag_values import quantity as _quantity
from edge_runtime.flag_values import seconds as _seconds
from edge_runtime.grpc import keepalive
from edge_runtime.memoization.flags import add_flags
from edge_runtime.node_cache import flags as node_cache
from edge_runtime.samples import flags as samples
from edge_runtime.sequences import flags as state_flags
from edge_runtime.shared_memory import flags as memory_flags
from edge_runtime.stand_in import flags as stand_in
from edge_runtime.store import access_flags
from edge_runtime.store import flags as store_flags

if TYPE_CHECKING:
    from edge_runtime.tls.certificates import Certificates

_INTERRUPTED, _NO_READER = 130, 141  # the exit statuses that shells use for SIGINT and SIGPIPE
_STORE_SECONDS = 60.0  # for which a Job waits for the store to respond
_HOST = "address to listen on; :: listens on all IPv6 and IPv4 addresses (default %(default)s)"
_UDS = "folder for http.sock and grpc.sock, for clients on this node"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 on success, and 1 with a message on stderr on failure."""
    arguments = _parser().parse_args(argv)
    # NumPy only copies here; the threads of its linear algebra, one for each core of the host, would idle.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Disables ONNX Runtime telemetry, which costs a thread, a file and bytes on a thin link.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        # Each command imports only what it needs: start-up time matters on a node with a tenth of a core.
        match arguments.command:
            case "store":
                return _store(arguments)
            case "fetch":
                from edge_runtime.store import fetching

                return fetching.run(arguments)
            case "node-cache":
                return node_cache.run(arguments, _certificates(arguments))
            case "profile-device":
                return _profile_device(arguments)
            case "serve":
                return _serve(arguments)
            case "profile":
                return _profile(arguments)
            case "exits":
                return exits.run(arguments)
            case "serve-node" | "install-unit" | "remove-unit":
                return stand_in.run(arguments, _parser().parse_args)
            case _:
                return _run(arguments)
    except EdgeError as error:
        sys.stderr.write(f"{error.reason}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER


def _store(arguments: argparse.Namespace) -> int:
    from edge_runtime.store.app import StoreApp
    from edge_runtime.store.flags import callers_of, warn_if_open
    from edge_runtime.store.reachable import reachable
    from edge_runtime.store.serving import store_server

    if arguments.root is None:
        raise BadRequest("--root: missing: name the folder for all stored data")
    allowed = reachable(
        arguments.root, arguments.shared_folder, arguments.allow_internal, arguments.plain_http
    )
    callers = callers_of(arguments)
    try:
        app = StoreApp(arguments.root, arguments.max_bytes, allowed, callers)
    except OSError as error:
        raise CannotListen(
            f"--root {arguments.root}: cannot be written to ({error.strerror}): name a writable folder"
        ) from error
    certificates = _certificates(arguments)
    if certificates is not None:
        certificates.count_failed(app.metrics.failed_handshake)
    warn_if_open(callers)
    try:
        store_server(app, arguments.host, arguments.port, certificates, arguments.health_port).run()
    finally:
        app.close()
    return 0


def _profile_device(arguments: argparse.Namespace) -> int:
    from edge_runtime.model_store import ModelStore
    from edge_runtime.profiling import profile_device
    from edge_runtime.samples.flags import given_by
    from edge_runtime.shutdown import end_when_interrupted

    end_when_interrupted(_INTERRUPTED)
    log = logging.getLogger("profile-device")
    certificates = _certificates(arguments)

    async def work() -> None:
        tls = certificates.client if certificates is not None else None
        store = ModelStore(arguments.store, tls=tls, token=arguments.store_token_file)
        await store.reached(_STORE_SECONDS)
        profile = await profile_device(
            store,
            arguments.model,
            arguments.device_class,
            arguments.node,
            selection=arguments.selection,
            seconds=arguments.seconds,
            progress=log.info,
            threads=arguments.threads,
            given=given_by(arguments),
            trial_seconds=arguments.trial_seconds,
        )
        await store.put_profile(profile)
        store.close()
        if "refused" in profile:
            log.warning("stored without times: %s", profile["refused"])
            return
        log.info(
            "stored; the sum of segments and the whole model differ by at most %.1f %%",
            100 * profile["relativeError"],
        )

    asyncio.run(work())
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from edge_runtime.grpc.keepalive import keepalive_of
    from edge_runtime.inference.cpus import granted, threads
    from edge_runtime.memoization.flags import memoization_of
    from edge_runtime.samples.flags import given_by
    from edge_runtime.standalone_server import serve_path

    serve_path(
        arguments.model,
        name=arguments.name,
        host=arguments.host,
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        threads=arguments.threads or threads(granted()),
        max_batch=arguments.max_batch,
        uds=arguments.uds,
        certificates=_certificates(arguments),
        health_port=arguments.health_port,
        memoization=memoization_of(arguments),
        state=state_flags.state_of(arguments),
        memory=memory_flags.memory_of(arguments),
        given=given_by(arguments),
        stuck_after=arguments.stuck_after,
        grace=arguments.grace,
        trial_seconds=arguments.trial_seconds,
        keepalive=keepalive_of(arguments),
    )
    return 0


def _profile(arguments: argparse.Namespace) -> int:
    import orjson

    from edge_runtime.file_profiles import Progress, profile_file
    from edge_runtime.samples.flags import given_by
    from edge_runtime.shutdown import end_when_interrupted

    end_when_interrupted(_INTERRUPTED)
    given = given_by(arguments)
    profile = profile_file(
        arguments.model, arguments.threads, arguments.seconds, Progress(), given, arguments.trial_seconds
    )
    if arguments.format != "json":
        sys.stdout.write(f"{profile.table()}\n")
    if arguments.format != "table":
        sys.stdout.write(f"{orjson.dumps(profile.document()).decode()}\n")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from edge_runtime.inference.gc_tuning import disable_while_starting

    disable_while_starting()
    from edge_runtime.server import serve

    if arguments.peer_port is not None and arguments.tls_dir is None:
        raise BadCertificates("--peer-port: needs certificates: set --tls-dir to their folder")
    return serve(arguments, _certificates(arguments))


def _certificates(arguments: argparse.Namespace) -> Certificates | None:
    if arguments.tls_dir is None:
        return None
    from edge_runtime.tls.certificates import Certificates

    return Certificates(arguments.tls_dir, arguments.tls_clients)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-runtime", description="Serve slices of an ONNX model at the edge."
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="serve the services of a namespace at one node")
    run.add_argument(
        "--service",
        default=os.environ.get("EDGE_SERVICE") or None,
        help="serve only this InferenceService (default: all with a Placement for this node) [$EDGE_SERVICE]",
    )
    for flag, variable, text in (
        ("--namespace", "EDGE_NAMESPACE", "namespace of the InferenceServices"),
        ("--node", "EDGE_NODE", "name of this node"),
        ("--store", "EDGE_STORE", "address of the model store, such as http://model-store:8080"),
    ):
        value = os.environ.get(variable)
        run.add_argument(flag, default=value, required=value is None, help=f"{text} [${variable}]")
    access_flags.add_token(run)
    node_cache.add_client_flag(run)
    cache = os.environ.get("EDGE_CACHE_DIR")
    run.add_argument(
        "--cache-dir",
        type=Path,
        default=cache,
        required=cache is None,
        help="folder for slices and the last placements [$EDGE_CACHE_DIR]",
    )
    _add_listening(run, "::")
    source = run.add_mutually_exclusive_group()
    source.add_argument(
        "--placement-file", type=Path, help="read the Placements from this file instead of the API server"
    )
    source.add_argument(
        "--from-disk",
        action="store_true",
        help="serve the last Placements in --cache-dir, without the API server, for as long as spec.autonomy "
        "of each service allows",
    )
    run.add_argument(
        "--drain",
        type=_duration,
        default="1s",
        metavar="DURATION",
        help="time after SIGTERM in which it still serves, reports not ready and closes connections after "
        "their next response (default 1s)",
    )
    run.add_argument("--uds", type=Path, help=_UDS)
    run.add_argument(
        "--cluster-domain",
        default=os.environ.get("EDGE_CLUSTER_DOMAIN") or "cluster.local",
        help="DNS domain of the cluster, to reach other nodes (default %(default)s) [$EDGE_CLUSTER_DOMAIN]",
    )
    run.add_argument(
        "--memory-limit",
        type=_quantity,
        default=os.environ.get("EDGE_MEMORY_LIMIT") or None,
        metavar="QUANTITY",
        help="reject route tables that need more memory, e.g. 512Mi (default: the cgroup's limit) "
        "[$EDGE_MEMORY_LIMIT]",
    )
    _add_queue(run, "the CPU quota of the cgroup, 1 without a quota")
    _add_trials(run)
    memory_flags.add_flags(run)
    _add_security(run)
    _add_peers(run)
    keepalive.add_flags(run)

    _add_lone_commands(commands)
    exits.add_command(commands)
    stand_in.add_commands(commands)

    profile = commands.add_parser(
        "profile-device", help="measure a model on this machine and store the DeviceProfile"
    )
    profile.add_argument("--model", required=True, help="digest of the model, sha256:…")
    profile.add_argument("--device-class", required=True, help="device class of this machine")
    profile.add_argument(
        "--selection",
        required=True,
        help="nodes of the class, as the arguments of the operator's profiling Job name them",
    )
    profile.add_argument("--node", required=True, help="name of this machine")
    profile.add_argument(
        "--threads",
        type=_count,
        default=1,
        help="threads for one inference, as in run (default %(default)s)",
    )
    profile.add_argument("--store", required=True, help="address of the model store")
    access_flags.add_token(profile)
    profile.add_argument(
        "--seconds",
        type=_seconds,
        default=0.6,
        help="seconds to measure each slice (default %(default)s)",
    )
    _add_trials(profile)

    samples.add_flags(profile)
    profile.add_argument(
        "--tls-dir", type=Path, help="folder of certificates for a store with https, as in run"
    )
    profile.set_defaults(tls_clients="require")

    store = commands.add_parser("store", help="store and serve models, slices and profiles")
    store.add_argument("--root", type=Path, help="folder for all stored data; required")
    store.add_argument("--host", default="::", help=_HOST)
    store.add_argument("--port", type=_port, default=8080, help="0 for a free port (default %(default)s)")
    store.add_argument(
        "--max-bytes",
        type=_count,
        default=2 << 30,
        help="size limit of a file in bytes (default 2 GiB)",
    )
    store_flags.add_source_flags(store)
    store_flags.add_flags(store)
    _add_security(store)

    _add_security(node_cache.add_command(commands))

    # What it needs is imported when the command runs.
    fetch = commands.add_parser("fetch", help="read a model with the credentials of a Job into a model store")
    access_flags.add_fetch(fetch)
    return parser


class _Version(argparse.Action):
    """Reads the version only for `--version`: the import alone takes 10 ms."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('edge-runtime')}\n")
        parser.exit()


def _add_lone_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands that work without a cluster."""
    serve = commands.add_parser("serve", help="serve ONNX models by the Open Inference Protocol")
    serve.add_argument(
        "model",
        type=Path,
        help="an .onnx file, or a folder of files NAME.onnx, NAME/model.onnx or NAME/1/model.onnx, which "
        "clients load and unload",
    )
    serve.add_argument("--name", help="model name in requests (default: the file's name)")
    _add_listening(serve, "127.0.0.1")
    serve.add_argument("--uds", type=Path, help=_UDS)
    _add_security(serve)
    _add_queue(serve, "the CPU quota of the cgroup")
    _add_trials(serve)
    add_flags(serve)
    state_flags.add_flags(serve)
    memory_flags.add_flags(serve)
    samples.add_flags(serve)
    keepalive.add_flags(serve)

    profile = commands.add_parser("profile", help="measure an ONNX model on this machine")
    profile.add_argument("model", type=Path, help="an .onnx file")
    profile.add_argument(
        "--threads", type=_count, default=1, help="threads for one inference (default %(default)s)"
    )
    profile.add_argument(
        "--seconds",
        type=_seconds,
        default=0.6,
        help="seconds to measure each slice (default %(default)s)",
    )
    samples.add_flags(profile)
    _add_trials(profile)
    profile.add_argument(
        "--format",
        choices=("both", "table", "json"),
        default="both",
        help="output format (default %(default)s)",
    )


def _add_listening(command: argparse.ArgumentParser, host: str) -> None:
    """Adds the flags of the address and the ports for requests."""
    command.add_argument("--host", default=host, help=_HOST)
    for flag, port in (("--http-port", 8080), ("--grpc-port", 8081)):
        command.add_argument(flag, type=_port, default=port, help="0 for a free port (default %(default)s)")


def _add_security(command: argparse.ArgumentParser) -> None:
    """Adds the flags for TLS and client authentication."""
    command.add_argument(
        "--tls-dir",
        type=Path,
        default=os.environ.get("EDGE_TLS_DIR") or None,
        help="use TLS with tls.crt, tls.key and ca.crt of this folder, also to next hops [$EDGE_TLS_DIR]",
    )
    command.add_argument(
        "--tls-clients",
        choices=("require", "optional"),
        default=os.environ.get("EDGE_TLS_CLIENTS") or "require",
        help="whether clients must present a certificate of ca.crt (default %(default)s) [$EDGE_TLS_CLIENTS]",
    )
    command.add_argument(
        "--health-port",
        type=_port,
        help="also serve health and metrics, nothing else, on this port without TLS",
    )


def _add_peers(command: argparse.ArgumentParser) -> None:
    """Adds the flags of the ports with TLS for other nodes."""
    command.add_argument(
        "--peer-port",
        type=_port,
        help="use TLS on this port and --peer-grpc-port, for nodes with a certificate for *.NAMESPACE.svc, "
        "and not on the ports for clients (default: on those)",
    )
    command.add_argument(
        "--peer-grpc-port",
        type=_port,
        default=8444,
        help="port for gRPC calls of other nodes, with --peer-port (default %(default)s)",
    )


def _add_queue(command: argparse.ArgumentParser, granted: str) -> None:
    """Adds the flags of the inference queue."""
    command.add_argument(
        "--threads",
        type=_count,
        default=os.environ.get("EDGE_THREADS"),
        help=f"threads for one inference (default: {granted}) [$EDGE_THREADS]",
    )
    command.add_argument(
        "--max-batch",
        type=_count,
        default=os.environ.get("EDGE_MAX_BATCH", "8"),
        help="maximum rows in one batch; 1 turns batching off (default 8) [$EDGE_MAX_BATCH]",
    )
    command.add_argument(
        "--stuck-after",
        type=_duration,
        default=os.environ.get("EDGE_STUCK_AFTER", "30s"),
        metavar="DURATION",
        help="not ready if one inference runs for longer than this (default 30s) [$EDGE_STUCK_AFTER]",
    )
    command.add_argument(
        "--grace",
        type=_duration,
        default=os.environ.get("EDGE_GRACE", "6s"),
        metavar="DURATION",
        help="time for requests in flight after SIGTERM, then they are aborted (default 6s) [$EDGE_GRACE]",
    )


def _add_trials(command: argparse.ArgumentParser) -> None:
    """Adds the flags of the trials of new models and slices."""
    command.add_argument(
        "--trial-seconds",
        type=_seconds,
        default=os.environ.get("EDGE_TRIAL_SECONDS") or "60",
        help="seconds in which a new model or slice must load and run in a separate process before this "
        "process loads it (default 60) [$EDGE_TRIAL_SECONDS]",
    )


if __name__ == "__main__":
    sys.exit(main())

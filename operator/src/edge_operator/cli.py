"""`edge-operator`: run the operator, and the hooks of the chart. `ei` is the command line for people."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from edge_operator.errors import OperatorError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.command == "adopt-crds":
            return _adopt_crds(parsed)
        if parsed.command == "remove-finalizers":
            return _remove_finalizers(parsed)
        if parsed.command == "send-inferences":
            return _send_inferences(parsed)
        if parsed.command == "admission":
            return _admission(parsed)
        return _run(parsed)
    except OperatorError as error:
        sys.stderr.write(f"edge-operator: {error}\n")
        return 2 if parsed.command in ("run", "admission") else 1


def _run(parsed: argparse.Namespace) -> int:
    from edge_operator.settings import Settings

    for variable, value in (
        ("EDGE_STORE", parsed.store),
        ("EDGE_RUNTIME_IMAGE", parsed.runtime_image),
        ("EDGE_WATCH_NAMESPACE", parsed.namespace),
        ("EDGE_TLS_DIR", parsed.tls_dir),
        ("EDGE_METRICS_PORT", parsed.metrics_port),
    ):
        if value is not None:
            os.environ[variable] = str(value)
    settings = Settings.from_environment(os.environ)
    from edge_operator import handlers  # registers them with kopf, which nothing else here needs

    handlers.run(
        os.environ.get("EDGE_WATCH_NAMESPACE") or None, settings, parsed.liveness_port, parsed.log_format
    )
    return 0


def _admission(parsed: argparse.Namespace) -> int:
    from edge_operator.admission.process import Options, run
    from edge_operator.admission.states import Rules

    rules = Rules(tuple(parsed.shared_folder), fetching=not parsed.no_fetching)
    run(Options(parsed.port, Path(parsed.tls_dir), parsed.metrics_port or 0, parsed.namespace or None, rules))
    return 0


def _adopt_crds(parsed: argparse.Namespace) -> int:
    from edge_operator.cluster import ApiServer
    from edge_operator.crd_adoption import adopt

    cluster = ApiServer.from_environment()
    for name in adopt(cluster, parsed.names, parsed.release, parsed.release_namespace):
        sys.stdout.write(f"{name}: part of release {parsed.release_namespace}/{parsed.release}\n")
    return 0


def _remove_finalizers(parsed: argparse.Namespace) -> int:
    from edge_operator import finalizer_removal
    from edge_operator.cluster import ApiServer

    cluster = ApiServer.from_environment()
    for line in finalizer_removal.remove_finalizers(
        cluster, parsed.installed_in, parsed.namespace, time.monotonic, time.sleep
    ):
        sys.stdout.write(f"{line}\n")
    return 0


def _send_inferences(parsed: argparse.Namespace) -> int:
    from edge_operator.cluster import INFERENCE_SERVICES, ApiServer
    from edge_operator.trial_requests import sender, trial_requests

    services = ApiServer.from_environment().find(INFERENCE_SERVICES, parsed.namespace)
    for line in trial_requests(services, sender(parsed.tls_dir)):
        sys.stdout.write(f"{line}\n")
    if not services:
        sys.stdout.write("no InferenceService: apply one, and test again\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-operator", description="Plans and places edge inference services."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('edge-operator')}")
    commands = parser.add_subparsers(dest="command", required=True)
    run_command = commands.add_parser("run", help="run the operator until stopped")
    run_command.add_argument("--namespace", help="watch only this namespace (default: all)")
    run_command.add_argument("--store", help="address of the model store ($EDGE_STORE)")
    run_command.add_argument("--runtime-image", help="image of the edge runtime ($EDGE_RUNTIME_IMAGE)")
    run_command.add_argument(
        "--tls-dir", help="folder with tls.crt, tls.key and ca.crt of the operator ($EDGE_TLS_DIR)"
    )
    run_command.add_argument(
        "--metrics-port", type=int, help="port of /metrics ($EDGE_METRICS_PORT; default: none)"
    )
    run_command.add_argument("--liveness-port", type=int, default=0, help="port of /healthz (default: none)")
    run_command.add_argument(
        "--log-format", choices=("plain", "json"), default="plain", help="default: plain"
    )
    adopt_command = commands.add_parser(
        "adopt-crds", help="replace CRDs by those of this version, as objects of a Helm release"
    )
    adopt_command.add_argument("names", nargs="+", metavar="CRD", help="e.g. tenants.edge-intelligence.io")
    adopt_command.add_argument("--release", required=True, help="name of the release")
    adopt_command.add_argument("--release-namespace", required=True, help="namespace of the release")
    remove_command = commands.add_parser(
        "remove-finalizers", help="remove the operator's finalizers from its objects, once it is uninstalled"
    )
    remove_command.add_argument("--installed-in", required=True, help="namespace of the operator")
    remove_command.add_argument("--namespace", help="of the services (default: all)")
    send_command = commands.add_parser(
        "send-inferences", help="send a request to each Ready service; exits with 1 if one fails"
    )
    send_command.add_argument("--namespace", help="of the services (default: all)")
    send_command.add_argument("--tls-dir", default="", help="folder with tls.crt, tls.key and ca.crt")
    admission_command = commands.add_parser(
        "admission",
        help="serve the admission webhook, which reviews objects for the API server",
    )
    admission_command.add_argument("--port", type=int, default=8443, help="port for HTTPS (default: 8443)")
    admission_command.add_argument("--tls-dir", required=True, help="folder with tls.crt and tls.key")
    admission_command.add_argument("--metrics-port", type=int, help="port of /metrics (default: none)")
    admission_command.add_argument("--namespace", help="of the services that are watched (default: all)")
    admission_command.add_argument(
        "--shared-folder",
        action="append",
        default=[],
        help="folder that file:// addresses may name; repeat it",
    )
    admission_command.add_argument(
        "--no-fetching", action="store_true", help="refuse models that a Job would have to fetch"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

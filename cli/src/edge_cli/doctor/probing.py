"""Calls the Triton servers of pools, through the API server if they run in the cluster. Only reads."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import httpx
from pydantic import ValidationError

from edge_api import DevicePool
from edge_api.devicepools import TritonServer
from edge_cli.connections import Connection
from edge_cli.doctor.states import ServerSeen
from edge_cli.forwarding import Forwarder, container_port, forwarded, pods_behind, ready
from edge_operator.cluster import DEPLOYMENTS, SERVICES, Object
from edge_operator.errors import ClusterError
from edge_operator.reading import read

_IN_CLUSTER: Final = re.compile(r"(?P<service>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.[a-z0-9.-]+)?")
_TIMES: Final = httpx.Timeout(5.0, connect=3.0)
_TAIL: Final = "edge-"


def seen_servers(here: Connection, pools: Iterable[Object]) -> Iterator[ServerSeen]:
    """Yields each Triton server of the pools as it was found."""
    for body in pools:
        try:
            pool = read(DevicePool, body)
        except ValidationError:
            continue
        for server in pool.spec.triton_servers:
            yield _seen(here, pool.metadata.name, server)


def _seen(here: Connection, pool: str, server: TritonServer) -> ServerSeen:
    name, url = server.name, server.url
    host, _, port = server.http_address.rpartition(":")
    inside = _IN_CLUSTER.fullmatch(host)
    if inside is None:
        return _outside(pool, server)
    try:
        service = here.cluster.get(SERVICES, inside["namespace"], inside["service"])
        if service is None:
            where = f"Service {inside['namespace']}/{inside['service']}"
            return ServerSeen(pool, name, url, reachable=False, said=f"{where} does not exist")
        pods = pods_behind(here, service)
        arguments = _arguments(here, service, pods)
    except ClusterError as error:
        return ServerSeen(pool, name, url, said=str(error))
    running = [pod for pod in pods if ready(pod)]
    if not running:
        said = "no pod of its Service is ready"
        return ServerSeen(pool, name, url, reachable=False, said=said, arguments=arguments)
    if server.scheme == "HTTPS" or here.client is None:
        return ServerSeen(pool, name, url, arguments=arguments)
    pod = running[0]
    metadata = pod["metadata"]
    with forwarded(
        here, metadata["namespace"], metadata["name"], container_port(pod, service, int(port))
    ) as via:
        return called(ServerSeen(pool, name, url, arguments=arguments), f"http://{via.address}", via)


def _outside(pool: str, server: TritonServer) -> ServerSeen:
    seen = ServerSeen(pool, server.name, server.url)
    if server.scheme == "HTTPS":  # it requires a certificate of its clients
        return seen
    found = called(seen, server.url, None)
    # That this machine cannot reach it says nothing of the nodes.
    return found if found.reachable else seen


def called(seen: ServerSeen, url: str, via: Forwarder | None) -> ServerSeen:
    """Returns what a server says of itself. url: where it is called."""
    with httpx.Client(base_url=url, timeout=_TIMES, trust_env=False) as client:
        try:
            client.get("/v2/health/live").raise_for_status()
        except httpx.HTTPError as error:
            said = (via.failure if via is not None else "") or str(error) or type(error).__name__
            return replace(seen, reachable=False, said=said)
        marks: dict[str, dict[str, str]] = {}
        control_open: bool | None = None
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
            stats = client.get("/v2/models/stats").raise_for_status().json()["model_stats"]
            for name in sorted({each["name"] for each in stats if each["name"].startswith(_TAIL)}):
                config = client.get(f"/v2/models/{name}/config").raise_for_status().json()
                parameters = config.get("parameters") or {}
                marks[name] = {key: value.get("string_value", "") for key, value in parameters.items()}
        with contextlib.suppress(httpx.HTTPError):
            # The index belongs to the same restricted protocol as loading, and changes nothing.
            index = client.post("/v2/repository/index", json={})
            control_open = index.status_code == httpx.codes.OK
        return replace(seen, reachable=True, marks=marks, control_open=control_open)


def _arguments(here: Connection, service: Object, pods: list[Object]) -> tuple[str, ...] | None:
    """Returns the command line of the server: of a pod, or of the Deployment if none runs."""
    templates = [pod["spec"] for pod in pods]
    if not templates:
        selector = (service["spec"].get("selector") or {}).items()
        for deployment in here.cluster.find(DEPLOYMENTS, service["metadata"]["namespace"]):
            template = deployment["spec"]["template"]
            if selector and selector <= (template["metadata"].get("labels") or {}).items():
                templates.append(template["spec"])
    for spec in templates:
        for container in spec.get("containers") or ():
            found = (*(container.get("command") or ()), *(container.get("args") or ()))
            if any("model-repository" in each or "tritonserver" in each for each in found):
                return found
    return None

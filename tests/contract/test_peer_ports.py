"""Which nodes reach each other by TLS, and the ports that runtimes get for it."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from edge_api import Placement
from edge_api.placement_reports import PlacementStatus
from edge_operator.errors import SettingsError
from edge_operator.nodes.peers import Peers, peers
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import runtime_deployment, runtime_service
from edge_operator.settings import Settings
from edge_runtime.cli import _parser
from messages import mentions

SETTINGS = Settings("https://model-store:8080", "runtime", issues_certificates=True)
GATEWAY = Runtime("shop", "edge-a")


@pytest.mark.parametrize(
    ("secured", "url"),
    [
        ({"edge-a", "edge-b"}, "https://edge-runtime-edge-a.shop.svc.cluster.local:8443"),
        ({"edge-a"}, "http://edge-runtime-edge-a.shop.svc.cluster.local:8080"),
        ({"edge-b"}, "http://edge-runtime-edge-a.shop.svc.cluster.local:8080"),
        (set(), "http://edge-runtime-edge-a.shop.svc.cluster.local:8080"),
    ],
)
def test_a_hop_uses_tls_once_both_ends_can(secured: set[str], url: str) -> None:
    assert Peers(secured=secured).url(GATEWAY, "edge-b") == url


def _reported(scheme: Literal["HTTPS"] | None) -> Placement:
    return Placement.model_construct(status=PlacementStatus(peer_scheme=scheme))


def test_nodes_that_report_tls_get_a_label_while_the_operator_issues_certificates() -> None:
    published = {"edge-a": _reported("HTTPS"), "edge-b": _reported(None)}
    found = peers(SETTINGS, published)
    assert found.labels("edge-a") == {"edge-intelligence.io/peer-scheme": "HTTPS"}
    assert found.labels("edge-b") == {}
    assert peers(replace(SETTINGS, issues_certificates=False), published).labels("edge-a") == {}


def test_a_runtime_gets_its_certificate_and_ports_for_other_nodes() -> None:
    host = Host("edge-a", ready=True)
    pod = runtime_deployment(GATEWAY, host, SETTINGS, SURGE)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = _parser().parse_args(container["args"])
    assert (arguments.peer_port, arguments.peer_grpc_port) == (8443, 8444)
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["tls"] == str(arguments.tls_dir)
    secret = {"secretName": "edge-runtime-tls", "defaultMode": 0o440}
    assert {"name": "tls", "secret": secret} in pod["volumes"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    service = runtime_service(GATEWAY, SETTINGS)["spec"]["ports"]
    assert {each["targetPort"]: each["port"] for each in service} == ports
    # Clients, the kubelet and Prometheus keep the ports without TLS.
    assert container["readinessProbe"]["httpGet"]["port"] == "http"
    assert [each["appProtocol"] for each in service] == ["http", "kubernetes.io/h2c", "https", "https"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"EDGE_TLS_MODE": "On"}, mentions("EDGE_TLS_MODE", '"On"', "Auto, Secrets, Disabled")),
        ({"EDGE_TLS_MODE": "Auto"}, mentions("EDGE_TLS_DIR", "writable folder")),
        (
            {"EDGE_TLS_MODE": "Auto", "EDGE_TLS_DIR": "/tmp/t", "EDGE_RUNTIME_TLS_SECRET": "mine"},
            mentions("EDGE_RUNTIME_TLS_SECRET", '"mine"', "Secrets"),
        ),
    ],
)
def test_modes_that_contradict_other_settings_are_refused(variables: dict[str, str], said: Any) -> None:
    given = {"EDGE_STORE": "http://store:8080", "EDGE_RUNTIME_IMAGE": "runtime"} | variables
    with pytest.raises(SettingsError, match=said):
        Settings.from_environment(given)

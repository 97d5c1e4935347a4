"""Clients outside the cluster reach a service as its spec says, and no longer than that."""

from typing import Any

from edge_operator.cluster import Object
from edge_operator.nodes.workloads import client_service
from edge_operator.settings import Settings
from edge_operator.versions import covers

SETTINGS = Settings("http://store:8080", "edge-runtime:1")


def _service(**spec: Any) -> Object:
    return {"metadata": {"name": "digits", "namespace": "default", "uid": "1"}, "spec": spec}


def _node_ports(body: Object) -> dict[str, int | None]:
    return {port["name"]: port.get("nodePort") for port in body["spec"]["ports"]}


def test_without_an_exposure_a_service_has_an_address_inside_the_cluster_alone() -> None:
    body = client_service(_service(), "Shared", SETTINGS)
    assert "type" not in body["spec"]
    assert _node_ports(body) == {"http": None, "grpc": None}


def test_an_exposed_service_is_at_the_given_ports_of_each_node_which_its_own_runtime_answers() -> None:
    exposure = {"type": "NodePort", "httpPort": 30080, "grpcPort": 30081}
    spec = client_service(_service(exposure=exposure), "Shared", SETTINGS)["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert spec["internalTrafficPolicy"] == "Cluster"
    assert [port["nodePort"] for port in spec["ports"]] == [30080, 30081]


def test_kubernetes_chooses_ports_that_the_spec_leaves_open() -> None:
    for kind in ("NodePort", "LoadBalancer"):
        body = client_service(_service(exposure={"type": kind}), "Dedicated", SETTINGS)
        assert body["spec"]["type"] == kind
        assert _node_ports(body) == {"http": None, "grpc": None}
        chosen = [port | {"nodePort": 31000 + n} for n, port in enumerate(body["spec"]["ports"])]
        assert covers({**body, "spec": body["spec"] | {"ports": chosen}}, body), "it is not applied again"


def test_an_exposure_that_is_removed_ends() -> None:
    live = client_service(_service(exposure={"type": "NodePort"}), "Shared", SETTINGS)
    body = client_service(_service(), "Shared", SETTINGS, live)
    assert body["spec"]["type"] == "ClusterIP"
    assert not covers(live, body)
    assert "externalTrafficPolicy" not in body["spec"]

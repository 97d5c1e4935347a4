"""A request for a service that only another node serves is forwarded there, once, within its deadline."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as over_http
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import NotReady, Overloaded, UnknownModel, Unreachable
from edge_runtime.grpc.forwarding import ForwardedError, GrpcForwarder
from edge_runtime.grpc.health import Health
from edge_runtime.node_services import NodeServices
from edge_runtime.rest.forwarding import ForwardedRequest, HttpForwarder
from edge_runtime.service_nodes import MARKER, Addresses, ServiceNodes
from edge_runtime.transports import Transports
from messages import mentions
from placed import SmallStore, adding, eventually, node, placement

ZEROS = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}


class Namespace:
    """Where each service runs, and the ports of the runtime at each node."""

    def __init__(self, **services: list[str]) -> None:
        self.services, self.lookups = services, list[str]()
        self.http: dict[str, int] = {}
        self.grpc: dict[str, int] = {}

    async def nodes_of(self, service: str) -> list[str]:
        self.lookups.append(service)
        return list(self.services.get(service, ()))

    def url(self, node: str) -> str:
        return f"http://127.0.0.1:{self.http[node]}"

    def target(self, node: str) -> str:
        return f"127.0.0.1:{self.grpc[node]}"


@asynccontextmanager
async def runtime(
    name: str, namespace: Namespace, services: NodeServices, outcomes: list[str]
) -> AsyncIterator[None]:
    """The transports of a node."""
    nodes = ServiceNodes(name, namespace.nodes_of)
    forwarders = (
        HttpForwarder(nodes, namespace.url, Resolver(), None, outcomes.append),
        GrpcForwarder(nodes, namespace.target, None, outcomes.append),
    )
    transports = Transports(
        services.models, lambda: b"", host="127.0.0.1", http_port=0, grpc_port=0, forwarders=forwarders
    )
    namespace.http[name], namespace.grpc[name] = transports.http_port, transports.grpc_port
    serving = asyncio.create_task(transports.serve())
    try:
        yield
    finally:
        await asyncio.gather(transports.stop(), serving)
        forwarders[0].close()
        await forwarders[1].close()


@asynccontextmanager
async def two_nodes(folder: Path, namespace: Namespace) -> AsyncIterator[list[str]]:
    """edge-a serves nothing, edge-b serves `ones`; yields the outcomes of requests that edge-a forwards."""
    store, outcomes = SmallStore(adding(1)), list[str]()
    for name in ("a", "b"):
        (folder / name).mkdir()
    async with node(folder / "a", store) as here, node(folder / "b", store) as there:
        here.replace([])
        there.replace([placement("ones", store.digests[0])])
        await eventually(lambda: bool(there.models.index(only_ready=True)))
        async with runtime("edge-a", namespace, here, outcomes), runtime("edge-b", namespace, there, []):
            yield outcomes


async def post(
    port: int, path: str, document: Any, headers: str = "", method: str = "POST"
) -> tuple[int, Any]:
    client = HttpClient(f"http://127.0.0.1:{port}", Resolver())
    try:
        body = b"" if document is None else json.dumps(document).encode()
        response = await client.request(method, path, [body], headers, within=20)
        return response.status, response.json()
    finally:
        client.close()


def code_of(
    port: int,
    method: str,
    model: str,
    timeout: float = 20.0,
    metadata: tuple[tuple[str, str | bytes], ...] = (),
) -> grpc.StatusCode:
    """The error of a gRPC call whose message has only the name of a model."""
    message = b"\x0a" + bytes([len(model)]) + model.encode()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=timeout, metadata=metadata)
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_http_requests_reach_the_node_that_serves_the_model(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-b"])
    async with two_nodes(tmp_path, namespace) as outcomes:
        port = namespace.http["edge-a"]
        code, said = await post(port, "/v2/models/ones/infer", ZEROS)
        assert (code, said["outputs"][0]["data"]) == (200, [1.0] * 4)
        assert await post(port, "/v2/models/ones/ready", None, method="GET") == (
            200,
            {"name": "ones", "ready": True},
        )
        code, said = await post(port, "/v2/models/ones/versions/1", None, method="GET")
        assert (code, said["inputs"][0]["name"]) == (200, "x")
        code, said = await post(port, "/v2/models/ones/infer", {"inputs": []})
        assert code == 400  # the other node's refusal
    assert outcomes == ["ok"] * 4
    assert namespace.lookups == ["ones"]


async def test_a_method_that_no_path_of_a_model_has_is_not_forwarded(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-b"])

    def head(port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("HEAD", "/v2/models/ones/ready")
        status = connection.getresponse().status
        connection.close()
        return status

    async with two_nodes(tmp_path, namespace) as outcomes:
        assert await asyncio.to_thread(head, namespace.http["edge-a"]) == 404
    assert outcomes == []


async def test_binary_tensors_and_compression_pass_unchanged(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-b"])

    def infer(port: int) -> list[float]:
        with over_http.InferenceServerClient(f"127.0.0.1:{port}") as client:
            given = over_http.InferInput("x", [1, 4], "FP32")
            given.set_data_from_numpy(np.zeros((1, 4), np.float32))
            packed = {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}
            found = client.infer("ones", [given], timeout=20_000_000, **packed).as_numpy("y")
            assert found is not None
            return list(found[0])

    async with two_nodes(tmp_path, namespace):
        assert await asyncio.to_thread(infer, namespace.http["edge-a"]) == [1.0] * 4


async def test_grpc_calls_and_streams_reach_the_node_that_serves_the_model(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-b"])

    def infer(port: int) -> list[Any]:
        given = triton.InferInput("x", [1, 4], "FP32")
        given.set_data_from_numpy(np.zeros((1, 4), np.float32))
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            streamed: list[Any] = []
            client.start_stream(lambda result, error: streamed.append(error or result.as_numpy("y")[0, 0]))
            client.async_stream_infer("ones", [given])
            client.stop_stream()
            alone = client.infer("ones", [given], client_timeout=20)
            with pytest.raises(InferenceServerException, match="unknown_input"):
                client.infer("ones", [triton.InferInput("unknown_input", [1], "FP32")])
            metadata = client.get_model_metadata("ones")
            return [*streamed, alone.as_numpy("y")[0, 0], client.is_model_ready("ones"), metadata.name]

    async with two_nodes(tmp_path, namespace) as outcomes:
        found = await asyncio.to_thread(infer, namespace.grpc["edge-a"])
    assert found == [1.0, 1.0, True, "ones"]
    assert outcomes == ["ok"] * 5


async def test_configuration_and_statistics_are_those_of_the_node_that_serves_the_model(
    tmp_path: Path,
) -> None:
    namespace = Namespace(ones=["edge-b"])

    def by_grpc() -> tuple[str, int, int]:
        with triton.InferenceServerClient(f"127.0.0.1:{namespace.grpc['edge-a']}") as client:
            configuration = client.get_model_config("ones").config
            (found,) = client.get_inference_statistics("ones").model_stats
            return (
                configuration.name,
                found.inference_count,
                len(client.get_inference_statistics().model_stats),
            )

    async with two_nodes(tmp_path, namespace):
        port = namespace.http["edge-a"]
        await post(port, "/v2/models/ones/infer", ZEROS)
        code, configuration = await post(port, "/v2/models/ones/config", None, method="GET")
        assert (code, configuration["name"], configuration["platform"]) == (200, "ones", "edge-intelligence")
        code, found = await post(port, "/v2/models/ones/stats", None, method="GET")
        assert (code, found["model_stats"][0]["inference_count"]) == (200, 1)
        assert await post(port, "/v2/models/stats", None, method="GET") == (200, {"model_stats": []})
        assert await asyncio.to_thread(by_grpc) == ("ones", 1, 0)


async def test_a_model_that_no_node_serves_is_unknown(tmp_path: Path) -> None:
    namespace = Namespace()

    async with two_nodes(tmp_path, namespace) as outcomes:
        for _ in range(3):
            code, said = await post(namespace.http["edge-a"], "/v2/models/nobody/infer", ZEROS)
            assert code == 404
            assert mentions("nobody", "namespace", "kubectl get placements").search(said["error"])
        code, _ = await post(namespace.http["edge-a"], "/v2/models/No%20name/infer", ZEROS)
        assert code == 404
        found = await asyncio.to_thread(code_of, namespace.grpc["edge-a"], "ModelReady", "nobody")
        assert found is grpc.StatusCode.NOT_FOUND
    assert outcomes == []
    assert namespace.lookups == ["nobody"]


async def test_a_forwarded_request_is_not_forwarded_again(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-a"], twos=["edge-a"])  # it is out of date: edge-a serves neither

    async with two_nodes(tmp_path, namespace) as outcomes:
        code, said = await post(
            namespace.http["edge-a"], "/v2/models/ones/infer", ZEROS, headers=f"{MARKER}: 1\r\n"
        )
        assert code == 404
        assert 'model "ones": it is not served here' in said["error"]
        code, _ = await post(namespace.http["edge-b"], "/v2/models/twos/infer", ZEROS)
        assert code == 404
        marked: tuple[tuple[str, str | bytes], ...] = ((MARKER, "1"),)
        found = await asyncio.to_thread(
            code_of, namespace.grpc["edge-a"], "ModelReady", "twos", metadata=marked
        )
        assert found is grpc.StatusCode.NOT_FOUND
        found = await asyncio.to_thread(code_of, namespace.grpc["edge-b"], "ModelReady", "twos")
        assert found is grpc.StatusCode.NOT_FOUND
    assert outcomes == []
    assert namespace.lookups == ["twos"]


async def test_another_node_answers_if_the_first_cannot_be_reached(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-b", "edge-c"])
    nodes = ServiceNodes("edge-a", namespace.nodes_of)
    first = (await nodes.of("ones"))[0]
    namespace.services["ones"] = [first, "edge-b"] if first != "edge-b" else ["edge-b", "edge-c"]
    namespace.http |= {"edge-c": 1}
    async with two_nodes(tmp_path, namespace):
        if first == "edge-b":  # the node that answers comes second
            namespace.http |= {"edge-c": namespace.http["edge-b"], "edge-b": 1}
        for _ in range(2):
            code, _ = await post(namespace.http["edge-a"], "/v2/models/ones/infer", ZEROS)
            assert code == 200


async def test_a_node_that_does_not_answer_ends_the_request_at_its_timeout(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-c"])

    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections and never responds
        port = silent.getsockname()[1]
        namespace.http["edge-c"] = namespace.grpc["edge-c"] = port
        async with two_nodes(tmp_path, namespace) as outcomes:
            body = ZEROS | {"parameters": {"timeout": 200_000}}
            code, said = await post(namespace.http["edge-a"], "/v2/models/ones/infer", body)
            assert code == 504
            assert mentions("ones", "edge-c", "0.2 s").search(said["error"])
            found = await asyncio.to_thread(
                code_of, namespace.grpc["edge-a"], "ModelInfer", "ones", timeout=0.2
            )
            assert found is grpc.StatusCode.DEADLINE_EXCEEDED
            assert outcomes[0] == "late"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_known_nodes_are_looked_up_again_after_half_a_minute() -> None:
    namespace, clock = Namespace(ones=["edge-a", "edge-b"]), Clock()
    nodes = ServiceNodes("edge-a", namespace.nodes_of, clock)
    assert await nodes.of("ones") == ["edge-b"]
    namespace.services["ones"] = ["edge-c"]
    clock.now += 29
    assert await nodes.of("ones") == ["edge-b"]
    clock.now += 2
    assert await nodes.of("ones") == ["edge-c"]


async def test_without_the_api_server_known_nodes_are_used_and_unknown_ones_are_an_error() -> None:
    namespace, clock = Namespace(ones=["edge-b"]), Clock()
    away = False

    async def nodes_of(service: str) -> list[str]:
        if away:
            raise Unreachable("API server: timed out")
        return await namespace.nodes_of(service)

    nodes = ServiceNodes("edge-a", nodes_of, clock)
    await nodes.of("ones")
    away = True
    clock.now += 3600
    assert await nodes.of("ones") == ["edge-b"]
    with pytest.raises(NotReady, match=mentions("twos", "API server: timed out")):
        await nodes.of("twos")


async def test_names_that_do_not_exist_are_a_bounded_load_of_the_api_server() -> None:
    namespace, clock = Namespace(), Clock()
    nodes = ServiceNodes("edge-a", namespace.nodes_of, clock)
    for number in range(60):
        assert await nodes.of(f"name-{number}") == []
    with pytest.raises(Overloaded, match=mentions("name-60", "60 other services", "10 s")):
        await nodes.of("name-60")
    assert await nodes.of("name,edge-intelligence.io/node=edge-b") == ()
    assert len(namespace.lookups) == 60
    clock.now += 61
    assert await nodes.of("name-60") == []


async def test_a_node_that_could_not_be_reached_is_tried_last_for_a_while() -> None:
    namespace, clock = Namespace(ones=["edge-b", "edge-c", "edge-d"]), Clock()
    nodes = ServiceNodes("edge-a", namespace.nodes_of, clock)
    before = list(await nodes.of("ones"))
    nodes.unreachable(before[0])
    assert list(await nodes.of("ones")) == [*before[1:], before[0]]
    clock.now += 6
    assert list(await nodes.of("ones")) == before


async def test_a_request_follows_a_service_that_has_moved(tmp_path: Path) -> None:
    namespace, clock = Namespace(ones=["edge-c"]), Clock()
    nodes = ServiceNodes("edge-d", namespace.nodes_of, clock)
    await nodes.of("ones")
    async with two_nodes(tmp_path, namespace):
        namespace.services["ones"] = ["edge-b"]
        namespace.http["edge-c"], namespace.grpc["edge-c"] = (
            namespace.http["edge-a"],
            namespace.grpc["edge-a"],
        )
        by_http = HttpForwarder(nodes, namespace.url, Resolver())
        by_grpc = GrpcForwarder(nodes, namespace.target)
        ready = ForwardedRequest("GET", "/v2/models/ones/ready", {}, b"")
        clock.now += 1
        assert (await by_http.send("ones", ready))[0] == 404  # it was looked up a second ago
        message = pb.ModelReadyRequest(name="ones").SerializeToString()
        with pytest.raises(ForwardedError, match=mentions("ones")):
            await by_grpc.call("ones", "inference.GRPCInferenceService/ModelReady", message)
        clock.now += 4
        assert (await by_http.send("ones", ready))[0] == 200
        nodes.unreachable("edge-b")
        await by_grpc.call("ones", "inference.GRPCInferenceService/ModelReady", message)
        by_http.close()
        await by_grpc.close()
    assert namespace.lookups == ["ones", "ones"]


async def test_a_service_of_this_node_whose_placement_has_not_arrived_is_not_unknown(tmp_path: Path) -> None:
    namespace, clock = Namespace(ones=["edge-a"]), Clock()
    nodes = ServiceNodes("edge-a", namespace.nodes_of, clock)
    for _ in range(2):
        with pytest.raises(NotReady, match=mentions("ones", "placed here", "retry")):
            await nodes.of("ones")
    clock.now += 6
    namespace.services["ones"] = ["edge-a", "edge-b"]
    assert await nodes.of("ones") == ["edge-b"]
    async with node(tmp_path, SmallStore()) as services:
        with pytest.raises(NotReady, match=mentions("ones", "Placements", "retry")):
            services.models.check("ones")
        assert Health(services.models, "server").status("ones") == health_pb2.HealthCheckResponse.NOT_SERVING
        services.replace([])
        with pytest.raises(UnknownModel):
            services.models.check("ones")


async def test_forwarded_requests_of_a_stream_keep_their_id_and_their_final_response(tmp_path: Path) -> None:
    namespace = Namespace(ones=["edge-b"])

    async def found(port: int) -> list[Any]:
        given = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
        requests = [
            pb.ModelInferRequest(model_name=model, id=model, inputs=[given], raw_input_contents=[bytes(16)])
            for model in ("ones", "nobody")
        ]
        for request in requests:
            request.parameters["triton_enable_empty_final_response"].bool_param = True
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            return [response async for response in stub.ModelStreamInfer(iter(requests))]

    async with two_nodes(tmp_path, namespace):
        fine, failed = await found(namespace.grpc["edge-a"])
    assert (fine.infer_response.id, fine.error_message) == ("ones", "")
    assert fine.infer_response.parameters["triton_final_response"].bool_param
    assert failed.infer_response.id == "nobody"
    assert mentions("nobody", "kubectl get placements").search(failed.error_message)


@pytest.mark.parametrize(("tls", "scheme"), [(False, "http"), (True, "https")])
def test_addresses_are_those_of_the_services_of_the_runtimes(tls: bool, scheme: str) -> None:
    addresses = Addresses("default", "cluster.local", 8080, 8081, tls)
    host = "edge-runtime-edge-b.default.svc.cluster.local"
    assert addresses.url("edge-runtime-edge-b") == f"{scheme}://{host}:8080"
    assert addresses.target("edge-runtime-edge-b") == f"{host}:8081"

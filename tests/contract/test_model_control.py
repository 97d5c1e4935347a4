"""Restricted model control: the operator sends its key with loads and unloads, and nowhere else."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import grpc
import pytest

from edge_api.tensors import Tensor
from edge_operator.cluster import Kind, Object
from edge_operator.errors import ControlDeniedError, TritonUnreachableError, TritonUntrustedError
from edge_operator.store import Blob
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import TritonServers
from messages import mentions
from proxies import triton_like

KEY = ("edge-model-control", "s3cret")


class Secrets:
    """A cluster with one Secret."""

    def __init__(self) -> None:
        self.key = KEY[1]
        self.reads = 0

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object:
        assert (kind.kind, namespace, name) == ("Secret", "edge", "triton-control")
        self.reads += 1
        return {"data": {"key": base64.b64encode(self.key.encode()).decode()}}


def control(port: int, secrets: Secrets) -> tuple[TritonServers, Tail]:
    keys = ControlKeys(secrets, "edge")  # type: ignore[arg-type]
    keys.set_pool("factory", {f"127.0.0.1:{port}": "triton-control"})
    tensor = Tensor(name="x", datatype="FP32", shape=(-1, 4))
    address = f"http://127.0.0.1:{port}"
    tail = Tail(address, "tail", "onnxruntime", "sha256:" + "0" * 64, (tensor,), (tensor,), 4, "ours")
    return TritonServers(None, keys), tail


def test_loads_and_unloads_carry_the_key_and_reads_do_not_need_it() -> None:
    secrets = Secrets()
    with triton_like(1) as triton:
        triton.key = KEY
        servers, tail = control(triton.port, secrets)
        assert servers.ready(tail.address) == frozenset()
        assert secrets.reads == 0
        servers.load(tail, lambda: nullcontext(Blob(4, [b"onnx"])))
        assert triton.models == {"tail": b"onnx"}
        assert servers.parameters(tail.address, "tail")["owner"] == "ours"
        servers.unload(tail.address, "tail")
        assert triton.models == {}
        assert secrets.reads == 1


def test_a_changed_key_is_read_again_after_a_refusal() -> None:
    secrets = Secrets()
    with triton_like(1) as triton:
        triton.key = KEY
        servers, tail = control(triton.port, secrets)
        secrets.key = "former"
        with pytest.raises(ControlDeniedError, match=mentions("controlSecret", "restricted", "tail")):
            servers.load(tail, lambda: nullcontext(Blob(4, [b"onnx"])))
        assert triton.models == {}
        secrets.key = KEY[1]
        servers.load(tail, lambda: nullcontext(Blob(4, [b"onnx"])))
        assert triton.models == {"tail": b"onnx"}


def test_without_a_key_control_is_denied_and_said_to_be_closed() -> None:
    with triton_like(1) as triton:
        servers, address = TritonServers(), f"http://127.0.0.1:{triton.port}"
        assert servers.control_open(address)
        triton.key = KEY
        assert not servers.control_open(address)
        with pytest.raises(ControlDeniedError, match=mentions("controlSecret", KEY[0])):
            servers.unload(address, "tail")


@contextmanager
def grpc_endpoint(respond: Callable[[grpc.ServicerContext], None]) -> Iterator[str]:
    """The address of a gRPC server that responds to RepositoryIndex alone. respond: may abort the request."""

    def index(request: bytes, context: grpc.ServicerContext) -> bytes:
        assert request == b"", "RepositoryIndexRequest without fields"
        respond(context)
        return b""

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(index)
    service = "inference.GRPCInferenceService"
    handlers = grpc.method_handlers_generic_handler(service, {"RepositoryIndex": method})
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def restricted(context: grpc.ServicerContext) -> None:
    """As Triton with --grpc-restricted-protocol, whose keys have a prefix in the metadata."""
    header = f"triton-grpc-protocol-{KEY[0]}"
    if dict(context.invocation_metadata()).get(header) != KEY[1]:
        context.abort(
            grpc.StatusCode.UNAVAILABLE, f"This protocol is restricted, expecting header '{header}'"
        )


def denied(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied")


@pytest.mark.parametrize(("respond", "wide"), [(lambda _: None, True), (restricted, False), (denied, False)])
def test_control_over_grpc_is_open_unless_triton_or_a_proxy_requires_a_key(
    respond: Callable[[grpc.ServicerContext], None], wide: bool
) -> None:
    with grpc_endpoint(respond) as address:
        assert TritonServers().control_open(address) is wide


def test_a_grpc_endpoint_that_does_not_respond_is_neither_open_nor_closed() -> None:
    """Its status is UNAVAILABLE, too."""

    def unavailable(context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "no healthy upstream")

    with (
        grpc_endpoint(unavailable) as address,
        pytest.raises(TritonUnreachableError, match=mentions(address, "UNAVAILABLE", "no healthy upstream")),
    ):
        TritonServers().control_open(address)
    with pytest.raises(TritonUnreachableError, match="UNAVAILABLE"):
        TritonServers().control_open(address)


def test_a_grpc_endpoint_by_tls_requires_certificates_of_the_operator() -> None:
    with pytest.raises(TritonUntrustedError, match=mentions("operator.tlsSecret")):
        TritonServers().control_open("grpcs://127.0.0.1:1")

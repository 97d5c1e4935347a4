"""tritonclient in all its variants against a model with every datatype, several inputs and outputs."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.grpc.aio as over_grpc_aio
import tritonclient.http as over_http
import tritonclient.http.aio as over_http_aio
from tritonclient.utils import InferenceServerException

from messages import mentions

Served = Any
Arrays = dict[str, Any]

SHAPE = (2, 3)


def _values(datatype: str) -> Any:
    count = np.arange(6).reshape(SHAPE)
    match datatype:
        case "BOOL":
            return count % 2 == 0
        case "BYTES":
            return np.array([f"wörd {n}".encode() for n in range(6)], dtype=object).reshape(SHAPE)
        case "BF16":
            return (count * 1.5).astype(ml_dtypes.bfloat16)
        case "FP16" | "FP32" | "FP64":
            return (count / 2 - 1).astype({"FP16": "f2", "FP32": "f4", "FP64": "f8"}[datatype])
        case _:
            limit = np.iinfo(datatype.lower())
            return np.array([[limit.min, 0, 1], [2, 3, limit.max]], dtype=datatype.lower())


DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
)


def _inputs(module: Any, datatypes: Sequence[str] = DATATYPES, **options: bool) -> list[Any]:
    inputs = []
    for datatype in datatypes:
        given = module.InferInput(f"in_{datatype}", SHAPE, datatype)
        binary = {} if datatype == "FP16" else options  # the client has no JSON for it
        given.set_data_from_numpy(_values(datatype), **binary)
        inputs.append(given)
    return inputs


def _check(result: Any, datatypes: Sequence[str] = DATATYPES) -> None:
    for datatype in datatypes:
        expected = _values(datatype)
        found = result.as_numpy(f"out_{datatype}")
        if datatype == "BYTES" and isinstance(found.flat[0], str):
            expected = np.array([w.decode() for w in expected.flat], dtype=object).reshape(SHAPE)
        np.testing.assert_array_equal(found, expected, err_msg=datatype)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_every_datatype_over_http(everything: Served, binary: bool, packed: str | None) -> None:
    with over_http.InferenceServerClient(f"127.0.0.1:{everything.http}") as client:
        outputs = [over_http.InferRequestedOutput(f"out_{d}", binary_data=binary) for d in DATATYPES]
        _check(
            client.infer(
                "m",
                _inputs(over_http, binary_data=binary),
                outputs=outputs,
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
        )


@pytest.mark.parametrize("binary", [True, False])
def test_nan_and_infinities_come_back_over_http_unchanged(everything: Served, binary: bool) -> None:
    values = np.array([[np.nan, np.inf, -np.inf], [0.1, -0.0, 1e-40]])
    inputs = _inputs(over_http, binary_data=binary)
    for given, kind in zip(inputs, DATATYPES, strict=True):
        if kind in ("FP32", "FP64"):
            given.set_data_from_numpy(values.astype({"FP32": "f4", "FP64": "f8"}[kind]), binary_data=binary)
    with over_http.InferenceServerClient(f"127.0.0.1:{everything.http}") as client:
        outputs = [over_http.InferRequestedOutput(f"out_{d}", binary_data=binary) for d in DATATYPES]
        result = client.infer("m", inputs, outputs=outputs)
    for kind, width in (("FP32", "f4"), ("FP64", "f8")):
        np.testing.assert_array_equal(result.as_numpy(f"out_{kind}"), values.astype(width))


def test_every_datatype_over_grpc(everything: Served) -> None:
    with over_grpc.InferenceServerClient(f"127.0.0.1:{everything.grpc}") as client:
        _check(client.infer("m", _inputs(over_grpc), compression_algorithm="gzip"))


async def test_every_datatype_over_both_with_asyncio(everything: Served) -> None:
    async with over_http_aio.InferenceServerClient(f"127.0.0.1:{everything.http}") as client:
        _check(await client.infer("m", _inputs(over_http_aio)))
    async with over_grpc_aio.InferenceServerClient(f"127.0.0.1:{everything.grpc}") as client:
        _check(await client.infer("m", _inputs(over_grpc_aio)))


def test_bf16_over_both(halves: Served) -> None:
    kinds = ("FP16", "BF16", "FP32")
    for module, port in ((over_http, halves.http), (over_grpc, halves.grpc)):
        with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
            _check(client.infer("m", _inputs(module, kinds)), kinds)
            part = client.infer(
                "m", _inputs(module, kinds), outputs=[module.InferRequestedOutput("out_FP32")]
            )
            _check(part, kinds[-1:])


def test_every_datatype_over_the_nodes_own_socket(everything: Served) -> None:
    with over_grpc.InferenceServerClient(f"unix:{everything.uds}/grpc.sock") as client:
        _check(client.infer("m", _inputs(over_grpc)))


def _pair(module: Any, a: float, b: float, rows: int = 1) -> list[Any]:
    inputs = []
    for name, value in (("a", a), ("b", b)):
        given = module.InferInput(name, (rows, 3), "FP32")
        given.set_data_from_numpy(np.full((rows, 3), value, np.float32))
        inputs.append(given)
    return inputs


def test_only_the_requested_outputs_are_returned(sums: Served) -> None:
    for module, port in ((over_http, sums.http), (over_grpc, sums.grpc)):
        with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
            result = client.infer(
                "m", _pair(module, 5, 3), outputs=[module.InferRequestedOutput("difference")]
            )
            assert result.as_numpy("difference").tolist() == [[2, 2, 2]]
            assert result.as_numpy("sum") is None
            whole = client.infer("m", _pair(module, 5, 3, rows=2), model_version="1")
            assert whole.as_numpy("sum").tolist() == [[8, 8, 8]] * 2


def test_inputs_that_do_not_fit_each_other_are_the_clients_fault(sums: Served) -> None:
    for module, port, code in (
        (over_http, sums.http, "400"),
        (over_grpc, sums.grpc, "StatusCode.INVALID_ARGUMENT"),
    ):
        with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
            inputs = [_pair(module, 5, 3, rows=2)[0], _pair(module, 5, 3, rows=3)[1]]
            with pytest.raises(InferenceServerException) as caught:
                client.infer("m", inputs)
            assert caught.value.status() == code
            parts = ("inputs:", "dimension 0 of b is 3", "dimension 0 of a is 2")
            assert mentions(*parts).search(caught.value.message())


def test_a_stream_answers_in_order_and_survives_a_bad_request(sums: Served) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with over_grpc.InferenceServerClient(f"127.0.0.1:{sums.grpc}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(20):
            name = "other" if number == 7 else "m"
            client.async_stream_infer(
                name, _pair(over_grpc, number, 1), request_id=str(number), enable_empty_final_response=True
            )
        for number in range(20):
            result, error = answers.get(timeout=10)
            if number == 7:
                assert mentions('model "other"', "m").search(error.message())
                continue
            assert result.get_response().id == str(number)
            assert result.as_numpy("sum").tolist() == [[number + 1] * 3]
            assert result.get_response().parameters["triton_final_response"].bool_param is True
        client.stop_stream()


def test_the_repository_index_names_the_model_and_its_state(sums: Served) -> None:
    expected = {"name": "m", "version": "1", "state": "READY", "reason": ""}
    with over_http.InferenceServerClient(f"127.0.0.1:{sums.http}") as client:
        assert client.get_model_repository_index() == [expected]
        with pytest.raises(InferenceServerException, match=mentions("load", "edge-runtime serve", "folder")):
            client.load_model("m")
        with pytest.raises(InferenceServerException, match=mentions("unload", "edge-runtime serve")):
            client.unload_model("m")
    with over_grpc.InferenceServerClient(f"127.0.0.1:{sums.grpc}") as client:
        (index,) = client.get_model_repository_index().models
        assert (index.name, index.version, index.state) == ("m", "1", "READY")
        with pytest.raises(InferenceServerException, match=mentions("load", "edge-runtime serve", "folder")):
            client.load_model("m")


def test_versions_other_than_the_one_there_is_are_not_ready(sums: Served) -> None:
    with over_http.InferenceServerClient(f"127.0.0.1:{sums.http}") as client:
        assert client.is_model_ready("m", "1")
        assert not client.is_model_ready("m", "2")
        assert client.get_model_metadata("m", "1")["versions"] == ["1"]

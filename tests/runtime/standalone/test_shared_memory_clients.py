"""tritonclient passes tensors in shared memory, as in the examples shm and reuse_infer_objects of Triton."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from onnx import helper
from tritonclient.utils import (
    InferenceServerException,
    serialize_byte_tensor,
    serialized_byte_size,
    shared_memory,
)

from edge_runtime.memoization.settings import CacheOptions, MemoizationSettings
from edge_runtime.shared_memory.regions import FOLDER, SharedMemory
from messages import mentions
from networks import info, model_of

Served = Any
Module = Any
FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.full((1, 16), -1, np.int32)
SIZE = FIRST.nbytes
CACHE = MemoizationSettings(cache=CacheOptions())


def simple() -> bytes:
    """The sum and the difference of two inputs of 16 numbers, like Triton's `simple`."""
    return model_of(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [info(name, "N", 16, datatype="INT32") for name in ("INPUT0", "INPUT1")],
        [info(name, "N", 16, datatype="INT32") for name in ("OUTPUT0", "OUTPUT1")],
    )


@pytest.fixture(scope="module")
def served(serve: Callable[..., Served]) -> Served:
    return serve(simple(), memory=SharedMemory(FOLDER), memoization=CACHE)


@dataclass(frozen=True)
class Camera:
    """A client on the server's node, and a region with room for two inputs and two outputs."""

    module: Module
    client: Any
    handle: Any
    key: str

    def inputs(self) -> list[Any]:
        """The inputs, both in the region."""
        made = [self.module.InferInput(f"INPUT{i}", [1, 16], "INT32") for i in range(2)]
        for i, each in enumerate(made):
            each.set_shared_memory("region", SIZE, i * SIZE)
        return made

    def outputs(self) -> list[Any]:
        """The outputs, both in the region, behind the inputs."""
        made = [self.module.InferRequestedOutput(f"OUTPUT{i}") for i in range(2)]
        for i, each in enumerate(made):
            each.set_shared_memory("region", SIZE, (2 + i) * SIZE)
        return made

    def write(self, first: Any, second: Any) -> None:
        """Puts the values of both inputs into the region."""
        shared_memory.set_shared_memory_region(self.handle, [first, second])

    def read(self, output: int) -> Any:
        """The values of an output in the region."""
        return shared_memory.get_contents_as_numpy(self.handle, np.int32, [1, 16], (2 + output) * SIZE)


@pytest.fixture(params=["HTTP", "gRPC"])
def camera(request: pytest.FixtureRequest, served: Served) -> Iterator[Camera]:
    module = over_http if request.param == "HTTP" else over_grpc
    port = served.http if request.param == "HTTP" else served.grpc
    key = f"/edge-test-{uuid.uuid4()}"
    handle = shared_memory.create_shared_memory_region("region", key, 4 * SIZE)
    try:
        with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
            client.unregister_system_shared_memory()
            client.unregister_cuda_shared_memory()
            client.register_system_shared_memory("region", key, 4 * SIZE)
            yield Camera(module, client, handle, key)
            client.unregister_system_shared_memory()
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def test_inputs_are_read_from_and_outputs_written_to_the_region(camera: Camera) -> None:
    camera.write(FIRST, SECOND)
    found = camera.client.infer("m", camera.inputs(), outputs=camera.outputs())
    np.testing.assert_array_equal(camera.read(0), FIRST + SECOND)
    np.testing.assert_array_equal(camera.read(1), FIRST - SECOND)
    output = found.get_output("OUTPUT1")
    if isinstance(output, dict):
        assert output["datatype"] == "INT32"
        assert output["shape"] == [1, 16]
        assert output["parameters"]["shared_memory_region"] == "region"
        assert output["parameters"]["shared_memory_byte_size"] == SIZE
    else:
        assert (output.datatype, list(output.shape)) == ("INT32", [1, 16])
        assert output.parameters["shared_memory_region"].string_param == "region"
        assert output.parameters["shared_memory_offset"].int64_param == 3 * SIZE


def test_each_request_sees_the_current_values(camera: Camera) -> None:
    """The result cache is on: it must not answer from what the region had before."""
    for number in range(5):
        camera.write(FIRST + number, SECOND)
        camera.client.infer("m", camera.inputs(), outputs=camera.outputs())
        np.testing.assert_array_equal(camera.read(0), FIRST + number + SECOND)


def test_one_tensor_can_be_in_the_region_and_another_in_the_request(camera: Camera) -> None:
    camera.write(FIRST, SECOND)
    inputs = camera.inputs()
    inputs[0] = camera.module.InferInput("INPUT0", [1, 16], "INT32")
    inputs[0].set_data_from_numpy(FIRST * 10)
    outputs = camera.outputs()
    outputs[0] = camera.module.InferRequestedOutput("OUTPUT0")
    found = camera.client.infer("m", inputs, outputs=[outputs[1], outputs[0]])
    np.testing.assert_array_equal(found.as_numpy("OUTPUT0"), FIRST * 10 + SECOND)
    np.testing.assert_array_equal(camera.read(1), FIRST * 10 - SECOND)


def test_strings_are_passed_in_the_region(serve: Callable[..., Served], camera: Camera) -> None:
    """As in shm_string_client: with the size of the serialized strings."""
    words = np.array([["a", "longer word", "", "ä"]], dtype=object)
    model = model_of(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        [info("INPUT0", "N", 4, datatype="BYTES")],
        [info("OUTPUT0", "N", 4, datatype="BYTES")],
    )
    strings = serve(model, memory=SharedMemory(FOLDER))
    sent = serialize_byte_tensor(words)
    size = serialized_byte_size(sent)
    shared_memory.set_shared_memory_region(camera.handle, [sent])
    by_http = camera.module is over_http
    port = strings.http if by_http else strings.grpc
    with camera.module.InferenceServerClient(f"127.0.0.1:{port}") as client:
        client.register_system_shared_memory("words", camera.key, 4 * SIZE)
        given = camera.module.InferInput("INPUT0", [1, 4], "BYTES")
        given.set_shared_memory("words", size)
        wanted = camera.module.InferRequestedOutput("OUTPUT0")
        wanted.set_shared_memory("words", 2 * SIZE, 2 * SIZE)
        client.infer("m", [given], outputs=[wanted])
        client.unregister_system_shared_memory()
    found = shared_memory.get_contents_as_numpy(camera.handle, np.object_, [1, 4], 2 * SIZE)
    assert [word.decode() for word in found[0]] == words[0].tolist()


def test_the_status_names_the_region(camera: Camera) -> None:
    found = camera.client.get_system_shared_memory_status()
    if not isinstance(found, list):
        (region,) = found.regions.values()
        assert (region.name, region.key, region.offset, region.byte_size) == (
            "region",
            camera.key,
            0,
            4 * SIZE,
        )
    else:
        assert found == [{"name": "region", "key": camera.key, "offset": 0, "byte_size": 4 * SIZE}]
    camera.client.unregister_system_shared_memory("region")
    with pytest.raises(InferenceServerException, match=mentions("region", "not a registered region")):
        camera.client.infer("m", camera.inputs())


@pytest.mark.parametrize(
    ("size", "offset", "parts"),
    [
        (SIZE, 4 * SIZE, ("exceed", "region")),
        (SIZE - 4, 0, ("60 bytes", "needs 64")),
        (1 << 40, 0, ("exceed", "region")),
    ],
)
def test_an_input_outside_of_the_region_is_refused(
    camera: Camera, size: int, offset: int, parts: tuple[str, ...]
) -> None:
    inputs = camera.inputs()
    inputs[1].set_shared_memory("region", size, offset)
    with pytest.raises(InferenceServerException, match=mentions("inputs[1]", *parts)):
        camera.client.infer("m", inputs)


def test_an_output_that_does_not_fit_is_refused(camera: Camera) -> None:
    camera.write(FIRST, SECOND)
    outputs = camera.outputs()
    outputs[0].set_shared_memory("region", SIZE - 1, 2 * SIZE)
    with pytest.raises(
        InferenceServerException, match=mentions("OUTPUT0.parameters.shared_memory_byte_size", "63")
    ):
        camera.client.infer("m", camera.inputs(), outputs=outputs)


def test_files_outside_of_the_folder_cannot_be_registered(camera: Camera, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(100))
    way_out = os.path.relpath(tmp_path / "secret", FOLDER)
    for key in (str(tmp_path / "secret"), way_out, f"/{way_out}"):
        with pytest.raises(InferenceServerException, match=mentions("key")):
            camera.client.register_system_shared_memory("other", key, 100)

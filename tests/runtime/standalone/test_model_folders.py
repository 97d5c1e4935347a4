"""`edge-runtime serve FOLDER`: several models, which clients load and unload."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from onnx import helper, numpy_helper
from tritonclient.utils import InferenceServerException

from edge_runtime.errors import BadRequest, CannotLoad
from edge_runtime.model_folders import models_in
from edge_runtime.standalone_server import serve_path
from messages import mentions
from networks import info, model_of

Module = Any
Clients = list[tuple[Module, Any]]
ServeFolder = Callable[[Path], AbstractContextManager[Any]]


def scaling(factor: float) -> bytes:
    """A model that multiplies its input by a number."""
    return model_of(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [info("x", "N", 2)],
        [info("y", "N", 2)],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )


def put(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three models, in each of the forms that are accepted."""
    put(tmp_path, "models/double.onnx", scaling(2))
    put(tmp_path, "models/triple/model.onnx", scaling(3))
    put(tmp_path, "models/tenfold/1/model.onnx", scaling(1))
    put(tmp_path, "models/tenfold/9/model.onnx", scaling(9))
    put(tmp_path, "models/tenfold/10/model.onnx", scaling(10))
    put(tmp_path, "models/README.md", b"which models these are")
    return tmp_path / "models"


@pytest.fixture
def clients(serve_folder: ServeFolder, folder: Path) -> Iterator[Clients]:
    """A client over HTTP and one over gRPC of a server of the folder's models."""
    with (
        serve_folder(folder) as served,
        over_http.InferenceServerClient(f"127.0.0.1:{served.http}") as http,
        over_grpc.InferenceServerClient(f"127.0.0.1:{served.grpc}") as grpc,
    ):
        yield [(over_http, http), (over_grpc, grpc)]


def times(module: Module, client: Any, model: str) -> float:
    """The factor by which a model multiplies."""
    given = module.InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2]], np.float32))
    found = client.infer(model, [given]).as_numpy("y")
    assert found[0, 1] == 2 * found[0, 0]
    return float(found[0, 0])


def index(client: Any) -> dict[str, tuple[str, str]]:
    """State and reason of each model."""
    found = client.get_model_repository_index()
    entries = (
        found
        if isinstance(found, list)
        else [{"name": each.name, "state": each.state, "reason": each.reason} for each in found.models]
    )
    return {each["name"]: (each["state"], each["reason"]) for each in entries}


def test_each_model_of_a_folder_is_served_by_its_name(clients: Clients) -> None:
    for module, client in clients:
        assert client.is_server_ready()
        assert times(module, client, "double") == 2
        assert times(module, client, "triple") == 3
        assert times(module, client, "tenfold") == 10, "the greatest version by number is served"
        assert set(index(client)) == {"double", "triple", "tenfold"}
        with pytest.raises(InferenceServerException, match=mentions("other", "double", "tenfold")):
            times(module, client, "other")


def test_an_unloaded_model_is_listed_and_not_served_until_it_is_loaded(clients: Clients) -> None:
    for module, client in clients:
        client.unload_model("double")
        assert not client.is_model_ready("double")
        assert index(client)["double"] == ("UNAVAILABLE", "unloaded")
        with pytest.raises(InferenceServerException, match=mentions("double", "not served")):
            times(module, client, "double")
        assert times(module, client, "triple") == 3
        client.unload_model("double")  # again: there is nothing to do
        client.load_model("double")
        assert client.is_model_ready("double")
        assert times(module, client, "double") == 2


def test_loading_takes_the_file_as_it_is_now(clients: Clients, folder: Path) -> None:
    for factor, (module, client) in enumerate(clients, 5):
        (folder / "double.onnx").write_bytes(scaling(factor))
        client.load_model("double")
        assert times(module, client, "double") == factor
        put(folder, f"new{factor}.onnx", scaling(factor))
        with pytest.raises(InferenceServerException):
            times(module, client, f"new{factor}")
        client.load_model(f"new{factor}")
        assert times(module, client, f"new{factor}") == factor


def test_a_file_that_cannot_be_loaded_leaves_the_loaded_model_in_place(
    clients: Clients, folder: Path
) -> None:
    (folder / "double.onnx").write_bytes(b"not a model")
    put(folder, "bad.onnx", b"not a model")
    for module, client in clients:
        with pytest.raises(InferenceServerException, match=mentions("failed to load", "double")):
            client.load_model("double")
        assert times(module, client, "double") == 2
        with pytest.raises(InferenceServerException, match=mentions("failed to load", "bad")):
            client.load_model("bad")
        state, reason = index(client)["bad"]
        assert state == "UNAVAILABLE"
        assert "bad.onnx" in reason


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_unknown_models_and_unsupported_parameters_are_refused(clients: Clients, verb: str) -> None:
    for _, client in clients:
        change = getattr(client, f"{verb}_model")
        with pytest.raises(InferenceServerException, match=mentions(f"failed to {verb}", "wrong", "double")):
            change("wrong")
        with pytest.raises(InferenceServerException, match=mentions("escape")):
            change("../escape")
    with pytest.raises(InferenceServerException, match=mentions("parameters.config", "not supported")):
        clients[0][1].load_model("double", config="{}")


def test_models_that_cannot_be_loaded_affect_no_others(serve_folder: ServeFolder, folder: Path) -> None:
    put(folder, "bad.onnx", b"not a model")
    with (
        serve_folder(folder) as served,
        over_http.InferenceServerClient(f"127.0.0.1:{served.http}") as client,
    ):
        assert client.is_server_ready()
        assert times(over_http, client, "triple") == 3
        assert index(client)["bad"][0] == "UNAVAILABLE"


def test_no_request_is_lost_while_a_model_is_loaded_again(clients: Clients, folder: Path) -> None:
    """Each request gets the response of the old file or of the new one."""
    (module, client), (other, control) = clients
    found: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            found.append(times(module, client, "double"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for factor in (4, 5, 6):
            (folder / "double.onnx").write_bytes(scaling(factor))
            control.load_model("double")
            seen = len(found)
            while len(found) < seen + 3 and thread.is_alive():
                assert times(other, control, "double") == factor
    finally:
        done.set()
        thread.join()
    assert found == sorted(found)
    assert set(found) == {2, 4, 5, 6}


def test_metrics_are_of_every_loaded_model(serve_folder: ServeFolder, folder: Path) -> None:
    with serve_folder(folder) as served:
        with over_http.InferenceServerClient(f"127.0.0.1:{served.http}") as client:
            for model in ("double", "triple"):
                times(over_http, client, model)
            client.unload_model("tenfold")
        with urllib.request.urlopen(f"http://127.0.0.1:{served.http}/metrics", timeout=10) as response:
            text = response.read().decode()
    assert text.count("# TYPE edge_request_duration_seconds histogram") == 1
    for model in ("double", "triple"):
        assert f'edge_slo_requests_total{{met="true",namespace="",service="{model}"}} 1.0' in text
    assert 'service="tenfold"' not in text
    assert text.count("edge_inference_running_seconds{") == 1


def test_the_printed_lines_name_every_model(serve_folder: ServeFolder, folder: Path) -> None:
    with serve_folder(folder) as served:
        assert served.said.startswith("serving 3 models:")
        for model in ("double", "tenfold", "triple"):
            assert f"{model}: x FP32[-1, 2] -> y FP32[-1, 2]" in served.said


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ([], ("has no models", "NAME.onnx")),
        (["notes.txt", "x/y/z.onnx"], ("has no models", "NAME.onnx")),
        (["a.onnx", "a/1/model.onnx"], ("a.onnx", "same name")),
        (["a b.onnx"], ("a b", "cannot be the name")),
    ],
)
def test_a_folder_that_cannot_be_served_is_refused(
    tmp_path: Path, files: list[str], parts: tuple[str, ...]
) -> None:
    for name in files:
        put(tmp_path, name, scaling(2))
    with pytest.raises(CannotLoad, match=mentions(*parts)):
        models_in(tmp_path)


def test_a_folder_in_which_nothing_can_be_loaded_is_refused(
    serve_folder: ServeFolder, tmp_path: Path
) -> None:
    put(tmp_path, "models/bad.onnx", b"not a model")
    wanted = mentions("no model can be loaded", "bad.onnx")
    with pytest.raises(CannotLoad, match=wanted), serve_folder(tmp_path / "models"):
        pass


@pytest.mark.parametrize("wrong", [{"name": "m"}, {"given": "shapes"}, {"state": "pairs"}])
def test_flags_for_one_model_are_refused_for_a_folder(folder: Path, wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {
        "name": None,
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "threads": 1,
        "uds": None,
        **wrong,
    }
    with pytest.raises(BadRequest, match=mentions("is a folder")):
        serve_path(folder, **options)

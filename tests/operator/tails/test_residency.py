"""Which tails tables use, whose they are, and when a service must look at its Triton server again."""

import ast
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from edge_api.tensors import Slice, Tensor
from edge_operator.keys import TailKey
from edge_operator.tritons.residency import former_tails, in_use
from edge_operator.tritons.tail_models import (
    Backend,
    Tail,
    installation_identity,
    is_ours,
    may_be_ours,
    model_config,
    sources,
    tail_name,
)

HERE = "http://triton:8000"
OURS, THEIRS = installation_identity("uid-1", "edge", None), installation_identity("uid-2", "edge", None)
PIECE = Slice(
    digest="sha256:" + "1" * 64,
    size=4,
    inputs=(Tensor(name="pool1", datatype="FP32", shape=(-1, 16, 8, 8)),),
    outputs=(Tensor(name="text", datatype="BYTES", shape=(-1, 1)),),
)


def tail(owner: str = OURS, backend: Backend = "python") -> Tail:
    name = tail_name(owner, PIECE, backend)
    return Tail(HERE, name, backend, PIECE.digest, PIECE.inputs, PIECE.outputs, PIECE.size, owner)


def mark(it: Tail) -> dict[str, str]:
    return {key: value["string_value"] for key, value in model_config(it)["parameters"].items()}


def test_clusters_namespaces_and_scopes_have_identities_of_their_own() -> None:
    installations = [
        (cluster, namespace, scope)
        for cluster in ("uid-1", "uid-2")
        for namespace in ("edge", "other")
        for scope in (None, "shop", "plant")
    ]
    assert len({installation_identity(*each) for each in installations}) == len(installations)


def test_a_name_tells_the_installation_and_the_content_and_no_service() -> None:
    names = {
        tail_name(OURS, PIECE, "python"),
        tail_name(THEIRS, PIECE, "python"),
        tail_name(OURS, PIECE, "onnxruntime"),
        tail_name(OURS, PIECE.model_copy(update={"digest": "sha256:" + "2" * 64}), "python"),
        tail_name(OURS, PIECE.model_copy(update={"outputs": PIECE.inputs}), "python"),
    }
    assert len(names) == 5
    assert all(re.fullmatch("[a-z0-9-]{1,63}", name) for name in names)


def test_only_a_model_with_the_installations_mark_is_its_own() -> None:
    mine, theirs = tail(), tail(THEIRS)
    assert is_ours(mine.name, mark(mine), OURS)
    assert not may_be_ours(theirs.name, OURS)
    assert not is_ours(theirs.name, mark(theirs), OURS)
    assert not is_ours(mine.name, {}, OURS), "the name alone proves nothing"
    assert not is_ours(mine.name, mark(theirs), OURS)
    assert not is_ours("resnet", mark(mine), OURS)


def test_a_former_versions_tail_has_its_name_and_its_slice() -> None:
    name, parameters = "default-digits-" + "1" * 12, {"slice": PIECE.digest}
    assert is_ours(name, parameters, OURS)
    assert not is_ours(name, {}, OURS)
    assert not is_ours(name, {"slice": "sha256:" + "2" * 64}, OURS)
    assert not is_ours(name, parameters | {"owner": OURS}, OURS)


def _placement(model: str, *, switched: bool, former: tuple[str, ...] = ()) -> Any:
    stage = {"runtime": "Triton", "address": HERE, "model": model}
    annotation = json.dumps([[HERE, name] for name in former])
    return {
        "metadata": {"generation": 5, "annotations": {"edge-intelligence.io/former-tails": annotation}},
        "spec": {"routes": [{"stages": [stage]}]},
        "status": {"loaded": True, "observedGeneration": 5 if switched else 2},
    }


def test_a_node_that_is_offline_keeps_what_its_last_reported_table_needs() -> None:
    def names(body: Any) -> set[str]:
        return {key.name for key in in_use([body])}

    assert names(_placement("new", switched=True, former=("old",))) == {"new"}
    assert names(_placement("new", switched=False, former=("old",))) == {"new", "old"}
    # The table in between was never reported: its tail is not kept.
    assert json.loads(former_tails(_placement("between", switched=False, former=("old",)))) == [[HERE, "old"]]
    assert json.loads(former_tails(_placement("between", switched=True, former=("old",)))) == [
        [HERE, "between"]
    ]


@pytest.mark.parametrize("annotation", ["", "{}", "[1]", "not JSON", '["ab"]'])
def test_an_annotation_that_someone_broke_keeps_the_published_tails(annotation: str) -> None:
    body = _placement("new", switched=False)
    body["metadata"]["annotations"]["edge-intelligence.io/former-tails"] = annotation
    assert TailKey(HERE, "new") in in_use([body])


def test_a_scalar_has_one_element_for_triton_which_knows_no_tensors_without_dimensions() -> None:
    rate = Tensor(name="sr", datatype="INT64", shape=())
    scalar = {"name": "sr", "data_type": "TYPE_INT64", "dims": [1]}
    assert model_config(replace(tail(), inputs=(rate,)))["input"] == [scalar]
    other = replace(tail(), inputs=(rate,), backend="onnxruntime")
    assert model_config(other)["input"] == [{**scalar, "reshape": {"shape": []}}]


def test_the_configuration_names_tensors_and_types_in_tritons_words() -> None:
    config = model_config(tail())
    assert config["input"] == [{"name": "pool1", "data_type": "TYPE_FP32", "dims": [-1, 16, 8, 8]}]
    assert config["output"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": [-1, 1]}]
    assert (config["backend"], config["max_batch_size"]) == ("python", 0)
    assert model_config(replace(tail(), owner=THEIRS))["parameters"]["owner"] == {"string_value": THEIRS}


def test_the_python_backend_gets_the_model_py_along_and_onnxruntime_the_slice_alone() -> None:
    source = ast.parse(sources("python")["file:1/model.py"])
    assert "TritonPythonModel" in [node.name for node in source.body if isinstance(node, ast.ClassDef)]
    assert sources("onnxruntime") == {}

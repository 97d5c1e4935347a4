"""Reading a file: shapes, parameters, exits, names."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.graphs.catalogue import build
from benchmarks.graphs.transformers import transformer
from edge_planning import BadValueError, Cut
from edge_planning.graphs.layer_listing import layer_table
from edge_planning.graphs.onnx_reading import read_graph, read_model
from messages import mentions

Write = Callable[..., ModelProto]
WEIGHT = np.zeros((4, 8), np.float32)


def test_bytes_and_a_parsed_file_are_the_same_model_and_the_parsed_one_is_left_alone() -> None:
    model = build("unet")
    before = model.SerializeToString()
    assert read_model(before, name="unet") == read_model(model, name="unet")
    assert model.SerializeToString() == before


def test_a_dynamic_batch_is_one(write: Write) -> None:
    for batch in ("batch", None, -1):
        graph = read_graph(write([("Relu", "x", "y")], {"x": (batch, 4)}, {"y": (batch, 4)}), name="m")
        assert graph.tensors["x"].shape == graph.tensors["y"].shape == (1, 4)
        assert graph.warnings == ()


@pytest.mark.parametrize("batch", ["batch", "2*N + 1", None, -1])
def test_what_grows_with_the_batch_can_be_cut_and_what_does_not_cannot(
    write: Write, batch: int | str | None
) -> None:
    model = write(
        [
            ("Relu", "x", "a"),
            ("Slice", "a zero two", "b"),
            ("Concat", "b b", "c", {"axis": 0}),
            ("Exp", "c", "y"),
        ],
        {"x": (batch, 4)},
        {"y": (batch, 4)},
        weights={"zero": np.array([0]), "two": np.array([2])},
    )
    read = read_model(model, name="m")
    assert [(cut.name, cut.size) for cut in read.exits[0].cuts] == [("x", 16), ("a", 16)]
    assert read.graph is not None
    assert [read.graph.tensors[name].crosses for name in "xabc"] == [True, True, False, False]


@pytest.mark.parametrize("size", ["H", None, -1])
def test_bytes_of_an_open_size_are_not_made_up(write: Write, size: int | str | None) -> None:
    model = write([("Relu", "x", "y")], {"x": (1, 3, size, 5)}, {"y": None})
    name = size if isinstance(size, str) else "x.2"
    with pytest.raises(BadValueError, match=rf"input x .*dimension 2 \({name}\)"):
        read_model(model, name="m")
    for given in ({"bounds": {name: 7}}, {"shapes": {"x": (1, 3, 7, 5)}}):
        read = read_model(model, name="m", **given)
        assert [(cut.name, cut.size) for cut in read.exits[0].cuts] == [("x", 3 * 7 * 5 * 4)]
        assert read.shapes == {"x": (1, 3, 7, 5)}


def test_the_refusal_of_an_open_size_says_what_to_pass(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": ("n", 3, "H", -1)}, {"y": None})
    with pytest.raises(BadValueError, match=r"2 \(H\), 3 \(x\.3\).*shapes=\{'x': \(1, 3, H, x\.3\)\}"):
        read_model(model, name="m")
    with pytest.raises(BadValueError, match=r"3 \(x\.3\).*shapes=\{'x': \(1, 3, 64, x\.3\)\}"):
        read_model(model, name="m", bounds={"H": 64})


def test_one_shape_gives_the_size_of_a_dimension_that_inputs_share(write: Write) -> None:
    model = write([("Add", "a b", "y")], {"a": ("n", "L"), "b": ("n", "L")}, {"y": None})
    read = read_model(model, name="m", shapes={"a": (1, 9)})
    assert read.shapes == {"a": (1, 9), "b": (1, 9)}


def test_a_first_dimension_other_than_the_batch_takes_its_size(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": ("L",)}, {"y": None})
    assert read_model(model, name="m", shapes={"x": (16000,)}).exits[0].cuts == (Cut("x", 64000),)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"z": (1, 2)}, r"shapes\['z'\]: not an input: its inputs are a, b"),
        ({"a": (1, 2)}, r"shapes\['a'\]: \[1, 2\] has 2 dimensions, but the input has 3: n, 3, L"),
        ({"a": (1, 4, 2)}, r"dimension 1 is 4, but the file fixes it to 3"),
        ({"a": (1, 3, 0)}, r"dimension 2 is 0, but must be >= 1"),
        ({"a": (1, 3, 5), "b": (1, 3, 6)}, r"dimension 2 is 6, but shapes\['a'\] gives L as 5"),
    ],
)
def test_a_shape_that_contradicts_the_file_is_named(
    write: Write, shapes: dict[str, tuple[int, ...]], sentence: str
) -> None:
    model = write([("Add", "a b", "y")], {"a": ("n", 3, "L"), "b": ("n", 3, "L")}, {"y": None})
    with pytest.raises(BadValueError, match=sentence):
        read_model(model, name="m", shapes=shapes)


def test_a_shape_and_a_bound_that_differ_are_named(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": (1, "L")}, {"y": None})
    with pytest.raises(BadValueError, match=r"shapes give L as 5, but bounds as 4"):
        read_model(model, name="m", shapes={"x": (1, 5)}, bounds={"L": 4})


def test_a_model_without_open_sizes_belongs_to_no_shape(write: Write) -> None:
    assert read_model(write([("Relu", "x", "y")], {"x": ("n", 4)}, {"y": None}), name="m").shapes == {}


def test_a_size_of_0_is_none_that_can_be_sent(write: Write) -> None:
    with pytest.raises(BadValueError, match=r"inputs x\b"):
        read_model(write([("Relu", "x", "y")], {"x": (0, 4)}, {"y": None}), name="m")


def test_outputs_that_nothing_computes_are_not_exits(write: Write) -> None:
    weights = {"w": np.zeros(2, np.float32)}
    model = write(
        [("Relu", "x", "y")], {"x": ("n", 4)}, {"w": (2,), "y": None, "x": ("n", 4)}, weights=weights
    )
    read = read_model(model, name="m")
    assert [exit_.outputs for exit_ in read.exits] == [("y",)]
    assert read.graph is not None
    assert mentions("final", "w, x").search(read.graph.warnings[-2])


def test_what_a_file_says_wrongly_of_a_tensor_that_can_be_inferred_does_not_count(write: Write) -> None:
    model = write([("Relu", "x", "h"), ("Exp", "h", "y")], {"x": ("n", 4)}, {"y": (5, 9)}, shapes={"h": (7,)})
    graph = read_graph(model, name="m")
    assert graph.tensors["h"].shape == graph.tensors["y"].shape == (1, 4)
    assert not graph.warnings


def test_a_fixed_batch_stays(write: Write) -> None:
    graph = read_graph(write([("Relu", "x", "y")], {"x": (3, 4)}, {"y": (3, 4)}), name="m")
    assert graph.tensors["y"].shape == (3, 4)


def test_the_name_of_the_batch_means_one_wherever_it_stands(write: Write) -> None:
    model = write([("MatMul", "x z", "y")], {"x": ("n", 4), "z": (4, "n")}, {"y": ("n", "n")})
    assert read_graph(model, name="m").tensors["y"].shape == (1, 1)


def test_an_open_dimension_takes_its_bound() -> None:
    model = transformer(blocks=1, sequence="sequence")
    bounded = read_graph(model, name="m", bounds={"sequence": 128})
    assert bounded.warnings == ()
    fixed = read_graph(transformer(blocks=1, sequence=128), name="m")
    assert [layer.flops for layer in bounded.layers] == [layer.flops for layer in fixed.layers]
    assert bounded.tensors["block0.scores"].shape == (1, 12, 128, 128)
    short = read_graph(model, name="m", bounds={"sequence": 64})
    assert short.tensors["block0.scores"].shape == (1, 12, 64, 64)


def test_the_batch_can_be_bound_as_well(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": ("n", 4)}, {"y": ("n", 4)})
    assert read_graph(model, name="m", bounds={"n": 8}).tensors["y"].size == 8 * 4 * 4


def test_weights_may_be_initializers_constants_or_computed(write: Write) -> None:
    weights = {
        "initializer": write([("MatMul", "x w", "y")], {"x": (1, 4)}, {"y": None}, weights={"w": WEIGHT}),
        "constant": write(
            [("Constant", "", "w", {"value": numpy_helper.from_array(WEIGHT)}), ("MatMul", "x w", "y")],
            {"x": (1, 4)},
            {"y": None},
        ),
        "computed": write(
            [("ConstantOfShape", "s", "v"), ("Transpose", "v", "w"), ("MatMul", "x w", "y")],
            {"x": (1, 4)},
            {"y": None},
            weights={"s": np.array([8, 4])},
        ),
        # Stored in 8 bits and widened when read: a quarter.
        "quantized": write(
            [("DequantizeLinear", "q scale", "w"), ("MatMul", "x w", "y")],
            {"x": (1, 4)},
            {"y": None},
            weights={"q": np.zeros((4, 8), np.int8), "scale": np.float32(0.1).reshape(())},
        ),
    }
    for form, model in weights.items():
        graph = read_graph(model, name=form)
        assert [(layer.kind, layer.inputs) for layer in graph.layers] == [("matmul", ("x",))]
        assert graph.layers[0].parameters == {"quantized": 32 + 4}.get(form, 128)
        assert set(graph.tensors) == {"x", "y"}


def test_large_weights_need_not_be_there() -> None:
    model = onnx.load_model_from_string(build("resnet50").SerializeToString())
    whole = read_graph(model, name="m")
    external = onnx.ModelProto()
    external.CopyFrom(model)
    del external.graph.node[:]
    shapes = {n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            external.graph.initializer.append(
                TensorProto(
                    name=node.output[0],
                    data_type=TensorProto.FLOAT,
                    dims=numpy_helper.to_array(shapes[node.input[0]]).tolist(),
                    data_location=TensorProto.EXTERNAL,
                )
            )
        elif node.op_type != "Constant":
            external.graph.node.append(node)
    assert read_graph(external, name="m") == whole


def test_old_files_list_their_weights_as_inputs_too(write: Write) -> None:
    model = write([("MatMul", "x w", "y")], {"x": (1, 4), "w": (4, 8)}, {"y": (1, 8)}, weights={"w": WEIGHT})
    model.ir_version = 3
    assert read_graph(model, name="m").inputs == ("x",)


def test_shapes_that_are_computed_from_shapes_are_not_layers(write: Write) -> None:
    # As exporters write x.view(x.shape[0], -1) and an average over a computed number of elements.
    model = write(
        [
            ("Shape", "x", "shape"),
            ("Gather", "shape zero", "batch"),
            ("Unsqueeze", "batch first", "vector"),
            ("Concat", "vector rest", "target", {"axis": 0}),
            ("Reshape", "x target", "flat"),
            ("Shape", "flat", "after"),
            ("Cast", "after", "real", {"to": TensorProto.FLOAT}),
            ("Div", "real two", "half"),
            ("Floor", "half", "floor"),
            ("Cast", "floor", "whole", {"to": TensorProto.INT64}),
            ("Slice", "flat begin whole", "y"),
        ],
        {"x": ("n", 4, 6)},
        {"y": None},
        weights={
            "zero": np.array(0),
            "first": np.array([0]),
            "rest": np.array([-1]),
            "two": np.float32(2).reshape(()),
            "begin": np.array([0, 0]),
        },
    )
    graph = read_graph(model, name="m", bounds={"n": 2})
    assert graph.warnings == ()
    assert [layer.kind for layer in graph.layers] == ["reshape", "slice"]
    assert graph.tensors["flat"].shape == (2, 24)
    assert graph.tensors["y"].shape == (1, 12)


def test_what_leads_to_no_output_is_not_a_layer(write: Write) -> None:
    model = write([("Relu", "x", "y"), ("Exp", "x", "unused")], {"x": (1, 4)}, {"y": None})
    graph = read_graph(model, name="m")
    assert [layer.name for layer in graph.layers] == ["y"]
    assert "unused" not in graph.tensors


def test_nodes_may_stand_in_any_order(write: Write) -> None:
    model = write([("Exp", "h", "y"), ("Relu", "x", "h")], {"x": (1, 4)}, {"y": None})
    assert [layer.name for layer in read_graph(model, name="m").layers] == ["h", "y"]


def test_layers_have_different_names_whatever_the_file_calls_them(write: Write) -> None:
    model = write([("Relu", "x", "a"), ("Relu", "a", "b"), ("Relu", "b", "c")], {"x": (1, 4)}, {"c": None})
    for node, name in zip(model.graph.node, ["same", "same", ""], strict=True):
        node.name = name
    assert [layer.name for layer in read_graph(model, name="m").layers] == ["same", "same:b", "c"]


def test_functions_of_the_file_are_put_in_their_places(write: Write) -> None:
    model = write([("mine.Twice", "x", "y")], {"x": (1, 4)}, {"y": (1, 4)})
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Exp", ["b"], ["c"])]
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["c"], body, opsets))
    graph = read_graph(model, name="m")
    assert [layer.kind for layer in graph.layers] == ["relu", "exp"]
    assert graph.warnings == ()


def test_an_output_that_is_constant_is_a_layer_without_inputs(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": (1, 4)}, {"y": None, "w": (4, 8)}, weights={"w": WEIGHT})
    graph = read_graph(model, name="m")
    assert [(layer.kind, layer.inputs, layer.activations) for layer in graph.layers[1:]] == [
        ("constant", (), 128)
    ]


def test_half_precision_and_four_bits_have_their_sizes() -> None:
    sizes = {}
    for kind in (TensorProto.FLOAT16, TensorProto.INT4, TensorProto.BOOL, TensorProto.DOUBLE):
        values = [helper.make_tensor_value_info(name, kind, (1, 5)) for name in "xy"]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
        sizes[kind] = read_graph(model, name="m").tensors["y"].size
    assert list(sizes.values()) == [10, 3, 5, 40]


# --- exits ---


def test_a_cut_at_several_inputs_has_the_bytes_of_all() -> None:
    exits = [{"name": name, "output": name, "accuracy": 1} for name in ("box", "label")]
    model = read_model(build("camera_and_sensors"), name="m", exits=exits)
    picture, readings = 4 * 3 * 64 * 64, 4 * 12
    first = [exit_.cuts[0].size for exit_ in model.exits]
    assert first == [picture + readings] * 2
    sizes = [[cut.size for cut in exit_.cuts if len(cut.tensors) == 1] for exit_ in model.exits]
    shared = [4 * 96, 4 * 48, 4 * 48]
    assert sizes == [[*shared, 4 * 4], [*shared, 4 * 10]]


def test_an_input_that_a_later_layer_reads_passes_beside_a_cut_with_its_bytes(write: Write) -> None:
    nodes = [("MatMul", "x w", "h"), ("Add", "h state", "y"), ("MatMul", "y v", "z")]
    weights = {"w": np.ones((8, 2), np.float32), "v": np.ones((2, 3), np.float32)}
    model = read_model(
        write(nodes, {"x": ("n", 8), "state": (1, 2)}, {"z": ("n", 3), "y": ("n", 2)}, weights=weights),
        name="m",
    )
    assert model.exits[0].outputs == ("z", "y")
    assert model.exits[0].cuts == (
        Cut(("x", "state"), 32 + 8),
        Cut(("state", "h"), 8 + 8),
        Cut("y", 8),
    )


WIDE = np.ones((16, 8), np.float32)


def two_exits(write: Write, exits: str | None = None) -> ModelProto:
    nodes = [("MatMul", "x w", "h"), ("Relu", "h", "early"), ("MatMul", "early v", "late")]
    weights = {"w": WEIGHT, "v": WEIGHT.T.copy()}
    return write(nodes, {"x": ("n", 4)}, {"early": ("n", 8), "late": ("n", 4)}, weights=weights, exits=exits)


STATED = (
    '[{"name": "a", "output": "early", "accuracy": 0.8}, {"name": "b", "output": "late", "accuracy": 0.9}]'
)


def test_exits_are_those_that_the_file_states(write: Write) -> None:
    model = read_model(two_exits(write, STATED), name="m")
    assert [(e.name, e.end, e.accuracy) for e in model.exits] == [("a", "early", 0.8), ("b", "late", 0.9)]
    assert model.exits[0].cuts == (Cut("x", 16), Cut("h", 32))
    assert model.exits[1].cuts == (Cut("x", 16), Cut("h", 32), Cut("early", 32))
    assert model.graph is not None
    assert model.graph.warnings == ()


def test_exits_that_are_given_come_before_those_that_are_stated(write: Write) -> None:
    given = [{"name": "only", "output": "late", "accuracy": 0.95}]
    model = read_model(two_exits(write, STATED), name="m", exits=given)
    assert [(e.name, e.accuracy) for e in model.exits] == [("only", 0.95)]


def test_without_exits_all_outputs_are_one_and_a_warning_says_that_no_accuracy_is_stated(
    write: Write,
) -> None:
    model = read_model(two_exits(write), name="m")
    assert [(e.name, e.outputs, e.accuracy) for e in model.exits] == [("final", ("early", "late"), 1.0)]
    assert model.exits[0].segments() == (("x", "h"), ("h", "early"), ("early", "early+late"))
    assert model.graph is not None
    (warning,) = model.graph.warnings
    assert mentions("final", "accuracy", "1").search(warning)


def test_an_output_that_nothing_behind_a_cut_reads_costs_no_bytes(write: Write) -> None:
    nodes = [("MatMul", "x w", "h"), ("Relu", "h", "early"), ("Tanh", "h", "t"), ("MatMul", "t v", "late")]
    weights = {"w": WEIGHT, "v": WEIGHT.T.copy()}
    ends = {"early": ("n", 8), "late": ("n", 4)}
    model = read_model(write(nodes, {"x": ("n", 16)}, ends, weights={**weights, "w": WIDE}), name="m")
    cuts = {cut.name: cut.size for cut in model.exits[0].cuts}
    assert cuts == {"x": 64, "h": 32, "h+early": 32, "early+t": 32}


def test_an_exit_can_be_several_outputs_without_an_accuracy(write: Write) -> None:
    stated = '[{"name": "both", "outputs": ["late", "early"]}]'
    model = read_model(two_exits(write, stated), name="m")
    assert [(e.name, e.outputs, e.accuracy) for e in model.exits] == [("both", ("late", "early"), 1.0)]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("{", "exits: .*JSON"),
        ("{}", r"exits: \{\} .*list"),
        ("[]", r"exits: \[\] .*list"),
        ("[3]", r"exits\[0\]: 3 "),
        ('[{"name": "", "output": "late", "accuracy": 1}]', r"exits\[0\].name: '' "),
        (
            '[{"name": "a", "output": "h", "accuracy": 1}]',
            r"exits\[0\].output: 'h' .*early, late",
        ),
        (
            '[{"name": "a", "output": "late", "accuracy": "high"}]',
            r"exits\[0\].accuracy: 'high'",
        ),
        ('[{"name": "a", "output": "late", "accuracy": NaN}]', r"exits\[0\].accuracy: nan"),
        (
            '[{"name": "a", "output": "late", "accuracy": 1.5}]',
            r"exits\[0\].accuracy: 1.5 .*\b0 .* 1\b",
        ),
        (STATED.replace('"b"', '"a"'), r"exits\[1\].name: 'a' is listed twice"),
        (STATED.replace("early", "late"), r"exits\[1\].output: 'late' is listed twice"),
        ('[{"name": "a", "output": "late", "outputs": ["early"]}]', r"exits\[0\].output: 'late' .*outputs"),
        ('[{"name": "a", "outputs": []}]', r"exits\[0\].outputs: \[\] "),
        ('[{"name": "a", "outputs": ["late", "late"]}]', r"exits\[0\].outputs\[1\]: 'late' is listed twice"),
        ('[{"name": "a", "outputs": ["late", "h"]}]', r"exits\[0\].outputs\[1\]: 'h' .*early, late"),
        ('[{"name": "a", "output": "late", "responseNames": "Mine"}]', r"exits\[0\].responseNames: 'Mine'"),
        (STATED.replace(', "accuracy": 0.8', ""), r"exits\[0\].accuracy: None is missing"),
        (
            STATED.replace('"output": "late"', '"outputs": ["late", "early"]'),
            r"exits\[0\].outputs: .* 2 .*Own",
        ),
    ],
)
def test_a_bad_exit_is_named(write: Write, stated: str, message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        read_model(two_exits(write, stated), name="m")


def test_exits_out_of_order_are_named_with_what_they_take(write: Write) -> None:
    given = [
        {"name": "full", "output": "late", "accuracy": 0.9},
        {"name": "quick", "output": "early", "accuracy": 0.8},
    ]
    # 2 x 4 x 8 and the relu of 8; 2 x 8 x 4 more.
    message = "order.*quick.* 72 FLOP.* full 136"
    with pytest.raises(BadValueError, match=message):
        read_model(two_exits(write), name="m", exits=given)


def test_a_graph_as_a_table_shows_layers_cuts_sums_and_warnings(write: Write) -> None:
    graph = read_graph(two_exits(write), name="m")
    assert layer_table(graph).splitlines() == [
        "   layer     kind    output  MFLOP  weights KiB  output KiB",
        "|  h         matmul  1x8      0.00          0.1         0.0",
        "|  early     relu    1x8      0.00          0.0         0.0",
        "   late      matmul  1x4      0.00          0.1         0.0",
        "   3 layers                   0.00          0.2         0.1",
    ]


def test_the_largest_shapes_in_the_metadata_of_a_file_count_if_none_are_passed(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": ("n", "L")}, {"y": None})
    entry = model.metadata_props.add()
    entry.key, entry.value = "edge.inputs", '[{"name": "x", "maxShape": [1, 64], "typicalShape": [1, 9]}]'
    assert read_model(model, name="m").shapes == {"x": (1, 64)}
    assert read_model(model, name="m", shapes={"x": (1, 5)}).shapes == {"x": (1, 5)}
    entry.value = '[{"name": "x", "shape": [64]}]'
    with pytest.raises(BadValueError, match=r"model m: inputs\[0\]\.shape: \[64\] has 1 dimensions"):
        read_model(model, name="m")

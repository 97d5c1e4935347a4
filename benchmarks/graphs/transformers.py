"""A transformer encoder of BERT-base's size (Devlin et al. 2019), for one sequence."""

from onnx import ModelProto, TensorProto

from benchmarks.graphs.nets import Net

VOCABULARY, POSITIONS = 30522, 512


def transformer(
    blocks: int = 12, width: int = 768, heads: int = 12, sequence: int | str = 128, classes: int = 2
) -> ModelProto:
    """Token numbers [batch, sequence] to logits; a name as `sequence` makes the length symbolic."""
    net = Net(f"transformer{blocks}")
    tokens = net.input("tokens", ("batch", sequence), TensorProto.INT64)
    words = net.weight("words", (VOCABULARY, width), 0.01)
    places = net.weight("places", (POSITIONS, width), 0.01)
    x = net.node("Gather", [words, tokens], axis=0)
    x = _normalised(net, net.node("Add", [x, _first_places(net, places, tokens)]), width, "embedding")
    for block in range(blocks):
        x = _block(net, x, width, heads, f"block{block}")
    first = net.node("Gather", [x, net.constant(0)], "first", axis=1)
    pooled = net.node("Tanh", [net.connected(first, width, width, "pooler")])
    net.output(net.connected(pooled, width, classes, "logits"), ("batch", classes))
    return net.model()


def _first_places(net: Net, places: str, tokens: str) -> str:
    length = net.node("Shape", [tokens], start=1, end=2)
    return net.node("Slice", [places, net.constant([0]), length, net.constant([0])])


def _dense(net: Net, x: str, inputs: int, outputs: int, name: str) -> str:
    weight = net.weight(f"{name}.weight", (inputs, outputs), 1 / inputs)
    bias = net.weight(f"{name}.bias", (outputs,), 0.01)
    return net.node("Add", [net.node("MatMul", [x, weight], f"{name}.product"), bias], name)


def _normalised(net: Net, x: str, width: int, name: str) -> str:
    scale, bias = net.weight(f"{name}.scale", (width,), 1.0), net.weight(f"{name}.shift", (width,), 0.01)
    return net.node("LayerNormalization", [x, scale, bias], f"{name}.norm", axis=-1)


def _block(net: Net, x: str, width: int, heads: int, name: str) -> str:
    each = width // heads

    def split(part: str, order: list[int]) -> str:
        dense = _dense(net, x, width, width, f"{name}.{part}")
        shaped = net.node("Reshape", [dense, net.constant([0, 0, heads, each])])
        return net.node("Transpose", [shaped], perm=order)

    query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
    scores = net.node("MatMul", [query, key], f"{name}.scores")
    scaled = net.node("Div", [scores, net.constant(each**0.5)])
    mixed = net.node("MatMul", [net.node("Softmax", [scaled], axis=-1), value], f"{name}.mixed")
    joined = net.node("Transpose", [mixed], perm=[0, 2, 1, 3])
    joined = net.node("Reshape", [joined, net.constant([0, 0, width])])
    attended = _dense(net, joined, width, width, f"{name}.attended")
    x = _normalised(net, net.node("Add", [x, attended]), width, f"{name}.first")
    wide = _gelu(net, _dense(net, x, width, 4 * width, f"{name}.wide"))
    narrow = _dense(net, wide, 4 * width, width, f"{name}.narrow")
    return _normalised(net, net.node("Add", [x, narrow]), width, f"{name}.second")


def _gelu(net: Net, x: str) -> str:
    """X / 2 * (1 + erf(x / sqrt(2))) in the five nodes that exporters write."""
    error = net.node("Erf", [net.node("Div", [x, net.constant(2**0.5)])])
    return net.node(
        "Mul", [net.node("Mul", [x, net.node("Add", [error, net.constant(1.0)])]), net.constant(0.5)]
    )

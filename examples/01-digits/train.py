"""Trains the example's five-exit AlexNet on scikit-learn's handwritten digits and writes it as one ONNX file.

    python examples/01-digits/train.py --out build/digits

The network is AlexNet (Krizhevsky et al. 2012: five convolutions, local response normalization) with the
side branches of BranchyNet (Teerapittayanon et al. 2016), trained jointly on the weighted sum of the exits'
losses. It is narrow at useful cuts (`pool1`: 16 KiB, `reduce2`: 4 KiB, after an input of 64 KiB) and its last
layers cost most, so that the best cut and exit depend on the link and on the node.

The digits are 8x8. Each is drawn on a 128x128 canvas with rotation, scale, shift, brightness and noise, as in
a camera image, so that deeper exits are more accurate. All draws use a fixed seed. The split is stratified
and made before any drawing; the held-out digits are drawn once and saved as `heldout.npz`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Params = dict[str, jax.Array]
Moments = dict[str, tuple[jax.Array, jax.Array]]

SIZE = 128
HELD_OUT = 360
SEED = 7
WIDTH, WIDE = 192, 512
EXITS = ("exit1", "exit2", "exit3", "exit4", "exit5")
OUTPUTS = ("exit1_logits", "exit2_logits", "exit3_logits", "exit4_logits", "logits")
LOSS_WEIGHTS = (0.2, 0.3, 0.4, 0.5, 1.6)
EPSILON = 1e-4
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_BIAS = 5, 1.0, 0.75, 1.0


# --- the data ---


def split_digits() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Splits scikit-learn's 1797 digits into indices to train on and 360 held out (about 36 of each)."""
    labels = load_digits().target
    training, held_out = train_test_split(
        np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=SEED
    )
    return np.sort(training), np.sort(held_out)


def draw(digits: npt.NDArray[np.float32], size: int, random: np.random.Generator) -> Images:
    """Draws digits of 8x8 in 0..1, each in a random pose on a canvas: uint8 [n, 1, size, size]."""
    count = len(digits)
    angle = random.uniform(-0.15, 0.15, (count, 1, 1))
    scale = random.uniform(1.05, 1.30, (count, 1, 1))
    shift = random.uniform(-0.05, 0.05, (2, count, 1, 1))
    shear = random.uniform(-0.1, 0.1, (count, 1, 1))
    axis = (np.arange(size) + 0.5) / size - 0.5
    y, x = np.meshgrid(axis, axis, indexing="ij")
    y, x = y[None] - shift[0], x[None] - shift[1]
    u = (np.cos(angle) * x + np.sin(angle) * y + shear * y) * scale
    v = (-np.sin(angle) * x + np.cos(angle) * y) * scale
    ink = bilinear(np.pad(digits, ((0, 0), (1, 1), (1, 1))), (v + 0.5) * 8 + 0.5, (u + 0.5) * 8 + 0.5)
    light = random.uniform(0.6, 1.0, (count, 1, 1))
    shade = random.uniform(-0.15, 0.15, (2, count, 1, 1))
    noise = random.normal(0, 0.05, (count, size, size)) + bilinear(
        random.normal(0, 0.04, (count, 10, 10)), np.broadcast_to((y + 0.8) * 5.5, ink.shape), (x + 0.8) * 5.5
    )
    picture = 0.15 + light * ink * 0.8 + shade[0] * x + shade[1] * y + noise
    return np.asarray(np.clip(picture * 255, 0, 255), np.uint8)[:, None]


def bilinear(
    grid: npt.NDArray[Any], rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Interpolates grid [n, h, w] at fractional pixel positions [n, H, W], with repeated edges."""
    height, width = grid.shape[1:]
    rows, columns = np.clip(rows, 0, height - 1.001), np.clip(columns, 0, width - 1.001)
    top, left = rows.astype(int), columns.astype(int)
    down, right = rows - top, columns - left
    n = np.arange(len(grid))[:, None, None]
    upper = grid[n, top, left] * (1 - right) + grid[n, top, left + 1] * right
    lower = grid[n, top + 1, left] * (1 - right) + grid[n, top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, np.float64)


# --- the network in JAX (NHWC) ---


def initial(random: np.random.Generator) -> Params:
    """He-normal weights (He et al. 2015), biases 0."""
    shapes = {
        "conv1": (7, 7, 1, 4),
        "conv2": (5, 5, 4, 24),
        "reduce2": (1, 1, 24, 4),
        "conv3": (5, 5, 4, WIDTH),
        "conv4": (3, 3, WIDTH, WIDE),
        "conv5": (3, 3, WIDE, WIDTH),
        "exit1": (4 * 4 * 4, 10),
        "exit2": (4 * 4 * 4, 10),
        "exit3": (2 * 2 * WIDTH, 10),
        "exit4": (2 * 2 * WIDE, 10),
        "fc6": (4 * 4 * WIDTH, 96),
        "fc7": (96, 10),
    }
    params: Params = {}
    for name, shape in shapes.items():
        deviation = np.sqrt(2 / np.prod(shape[:-1]))
        params[f"{name}_w"] = jnp.asarray(random.normal(0, deviation, shape), jnp.float32)
        params[f"{name}_b"] = jnp.zeros(shape[-1], jnp.float32)
        if len(shape) == 4:
            params[f"{name}_scale"] = jnp.ones(shape[-1], jnp.float32)
    return params


def convolve(p: Params, moments: Moments, name: str, x: jax.Array, stride: int = 1) -> jax.Array:
    """Convolution, batch normalization (Ioffe & Szegedy 2015; its moments are recorded), rectification."""
    weight = p[f"{name}_w"]
    pad = weight.shape[0] // 2
    y = jax.lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
    moments[name] = (mean, variance)
    return jax.nn.relu((y - mean) * jax.lax.rsqrt(variance + EPSILON) * p[f"{name}_scale"] + p[f"{name}_b"])


def fold(p: Params, moments: Moments) -> Params:
    """Returns the network without batch normalization: folds scale and moments into weights and biases."""
    folded = dict(p)
    for name, (mean, variance) in moments.items():
        scale = folded.pop(f"{name}_scale") * jax.lax.rsqrt(variance + EPSILON)
        folded[f"{name}_w"] = p[f"{name}_w"] * scale
        folded[f"{name}_b"] = p[f"{name}_b"] - mean * scale
    return folded


def max_pool(x: jax.Array) -> jax.Array:
    """Max pooling over 2x2 cells: [n, h, w, c] to [n, h/2, w/2, c]."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def average_to(x: jax.Array, grid: int) -> jax.Array:
    """Averages [n, h, w, c] to grid x grid cells and flattens in ONNX order (c, h, w)."""
    n, h, w, c = x.shape
    cells = x.reshape(n, grid, h // grid, grid, w // grid, c).mean((2, 4))
    return cells.transpose(0, 3, 1, 2).reshape(n, -1)


def normalise(x: jax.Array) -> jax.Array:
    """Local response normalization over neighboring channels (Krizhevsky et al. 2012, section 3.3)."""
    half = LRN_SIZE // 2
    squares = jnp.pad(x * x, ((0, 0),) * 3 + ((half, half),))
    total = sum(squares[..., i : i + x.shape[-1]] for i in range(LRN_SIZE))
    root = jnp.sqrt(LRN_BIAS + LRN_ALPHA / LRN_SIZE * total)
    return x / (root * jnp.sqrt(root))  # beta = 0.75


def dense(p: Params, name: str, x: jax.Array) -> jax.Array:
    """A fully connected layer: [n, in] to [n, out]."""
    return x @ p[f"{name}_w"] + p[f"{name}_b"]


def forward(p: Params, image: jax.Array) -> tuple[list[jax.Array], Moments]:
    """Logits [n, 10] of every exit for images [n, size, size, 1] in 0..1, and the batch's moments."""
    m: Moments = {}
    pool1 = max_pool(convolve(p, m, "conv1", image, stride=2))
    norm1 = normalise(pool1)
    norm2 = normalise(convolve(p, m, "conv2", norm1))
    reduce2 = convolve(p, m, "reduce2", max_pool(norm2))
    norm3 = normalise(convolve(p, m, "conv3", reduce2))
    norm4 = normalise(convolve(p, m, "conv4", norm3))
    norm5 = normalise(convolve(p, m, "conv5", norm4))
    fc6 = jax.nn.relu(dense(p, "fc6", average_to(max_pool(norm5), 4)))
    logits = [
        dense(p, "exit1", average_to(norm1, 4)),
        dense(p, "exit2", average_to(reduce2, 4)),
        dense(p, "exit3", average_to(norm3, 2)),
        dense(p, "exit4", average_to(norm4, 2)),
        dense(p, "fc7", fc6),
    ]
    return logits, m


# --- training ---


@dataclass(frozen=True)
class Stage:
    """A stage of training at one image size: small images first, since they are fast."""

    size: int
    steps: int
    batch: int
    peak_rate: float


STAGES = (Stage(64, 200, 24, 3e-3), Stage(128, 50, 24, 2e-3))


def loss(p: Params, image: jax.Array, label: jax.Array) -> tuple[jax.Array, Moments]:
    """The weighted sum of the exits' cross-entropies (BranchyNet, section 3.1), and the moments."""
    exits, moments = forward(p, image)
    per_exit = [
        -jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], 1).mean() for logits in exits
    ]
    return jnp.asarray(sum(w * value for w, value in zip(LOSS_WEIGHTS, per_exit, strict=True))), moments


@jax.jit
def adam_step(
    p: Params,
    mean: Params,
    square: Params,
    step: jax.Array,
    rate: jax.Array,
    image: jax.Array,
    label: jax.Array,
) -> tuple[Params, Params, Params, jax.Array, Moments]:
    """One step of Adam (Kingma & Ba 2015, algorithm 1)."""
    (value, moments), gradient = jax.value_and_grad(loss, has_aux=True)(p, image, label)
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, square, gradient)
    m_scale, s_scale = 1 / (1 - 0.9**step), 1 / (1 - 0.99**step)
    p = jax.tree.map(lambda w, m, s: w - rate * m * m_scale / (jnp.sqrt(s * s_scale) + 1e-8), p, mean, square)
    return p, mean, square, value, moments


def train(digits: npt.NDArray[np.float32], labels: Labels, say: Callable[[str], None]) -> Params:
    """Trains on digits [n, 8, 8] in 0..1, each drawn again for every use."""
    random = np.random.default_rng(SEED)
    p = initial(random)
    mean = jax.tree.map(jnp.zeros_like, p)
    square = jax.tree.map(jnp.zeros_like, p)
    step = 0
    moments: Moments = {}
    for stage in STAGES:
        order: list[int] = []
        for i in range(stage.steps):
            if len(order) < stage.batch:
                order = list(random.permutation(len(digits)))
            batch, order = order[: stage.batch], order[stage.batch :]
            drawn = draw(digits[batch], stage.size, random).transpose(0, 2, 3, 1).astype(np.float32) / 255
            progress = (i + 0.5) / stage.steps
            rate = stage.peak_rate * min(1.0, progress / 0.1, (1 - progress) / 0.6)
            step += 1
            p, mean, square, value, seen = adam_step(
                p, mean, square, jnp.float32(step), jnp.float32(rate), drawn, labels[batch]
            )
            moments = (
                seen if i == 0 else jax.tree.map(lambda old, new: 0.85 * old + 0.15 * new, moments, seen)
            )
            if i % 10 == 0 or i == stage.steps - 1:
                say(f"train: {stage.size}x{stage.size} step {i + 1}/{stage.steps} loss {float(value):.2f}")
    return fold(p, moments)


# --- the ONNX file ---


class Graph:
    """Collects nodes and weights; every method returns the name of the tensor that it adds."""

    def __init__(self, params: Params) -> None:
        self.params = {name: np.asarray(value, np.float32) for name, value in params.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, value: npt.NDArray[np.float32]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def convolve(self, source: str, name: str, stride: int = 1) -> str:
        kernel = self.params[f"{name}_w"].transpose(3, 2, 0, 1)
        weights = [self.weight(f"{name}_w", kernel), self.weight(f"{name}_b", self.params[f"{name}_b"])]
        pad = kernel.shape[2] // 2
        linear = self.add(
            "Conv",
            [source, *weights],
            f"{name}_linear",
            kernel_shape=list(kernel.shape[2:]),
            pads=[pad] * 4,
            strides=[stride] * 2,
        )
        return self.add("Relu", [linear], name)

    def normalise(self, source: str, name: str) -> str:
        return self.add("LRN", [source], name, size=LRN_SIZE, alpha=LRN_ALPHA, beta=LRN_BETA, bias=LRN_BIAS)

    def max_pool(self, source: str, name: str) -> str:
        return self.add("MaxPool", [source], name, kernel_shape=[2, 2], strides=[2, 2])

    def average(self, source: str, cell: int, name: str) -> str:
        pooled = self.add(
            "AveragePool", [source], f"{name}_cells", kernel_shape=[cell] * 2, strides=[cell] * 2
        )
        return self.add("Flatten", [pooled], f"{name}_features")

    def dense(self, source: str, name: str, output: str) -> str:
        weights = [self.weight(f"{name}_w", self.params[f"{name}_w"])]
        weights.append(self.weight(f"{name}_b", self.params[f"{name}_b"]))
        return self.add("Gemm", [source, *weights], output)


def export(params: Params) -> onnx.ModelProto:
    """The network of `forward` as ONNX: input `image` FP32 [N, 1, 128, 128] in 0..1, five outputs [N, 10]."""
    g = Graph(params)
    pool1 = g.max_pool(g.convolve("image", "conv1", stride=2), "pool1")
    norm1 = g.normalise(pool1, "norm1")
    g.dense(g.average(norm1, 8, "exit1"), "exit1", OUTPUTS[0])
    norm2 = g.normalise(g.convolve(norm1, "conv2"), "norm2")
    reduce2 = g.convolve(g.max_pool(norm2, "pool2"), "reduce2")
    g.dense(g.average(reduce2, 4, "exit2"), "exit2", OUTPUTS[1])
    norm3 = g.normalise(g.convolve(reduce2, "conv3"), "norm3")
    g.dense(g.average(norm3, 8, "exit3"), "exit3", OUTPUTS[2])
    norm4 = g.normalise(g.convolve(norm3, "conv4"), "norm4")
    g.dense(g.average(norm4, 8, "exit4"), "exit4", OUTPUTS[3])
    norm5 = g.normalise(g.convolve(norm4, "conv5"), "norm5")
    pool5 = g.max_pool(norm5, "pool5")
    fc6 = g.add("Relu", [g.dense(g.average(pool5, 2, "exit5"), "fc6", "fc6_linear")], "fc6")
    g.dense(fc6, "fc7", OUTPUTS[4])
    graph = helper.make_graph(
        g.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 10]) for name in OUTPUTS],
        g.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="edge-intelligence"
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def measure(model: onnx.ModelProto, images: Images, labels: Labels) -> list[float]:
    """Returns the accuracy of every exit with onnxruntime, as in serving."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    right = np.zeros(len(OUTPUTS))
    for start in range(0, len(images), 40):
        image = images[start : start + 40].astype(np.float32) / 255
        for i, logits in enumerate(session.run(list(OUTPUTS), {"image": image})):
            right[i] += (logits.argmax(1) == labels[start : start + 40]).sum()
    return [float(value) for value in right / len(images)]


def main(argv: list[str] | None = None) -> int:
    """Trains, exports, measures, writes; exits with 1 if accuracies do not increase with depth."""
    parser = argparse.ArgumentParser(description="Trains the five-exit digits model and writes it as ONNX.")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for digits.onnx, heldout.npz, digits.json"
    )
    arguments = parser.parse_args(argv)
    started = time.perf_counter()
    data = load_digits()
    digits, labels = (data.images / 16).astype(np.float32), data.target.astype(np.int64)
    training, held_out = split_digits()
    params = train(digits[training], labels[training], lambda line: print(line, flush=True))
    images = draw(digits[held_out], SIZE, np.random.default_rng(SEED + 1))
    model = export(params)
    accuracies = measure(model, images, labels[held_out])
    exits = [
        {"name": name, "output": output, "accuracy": round(accuracy, 4)}
        for name, output, accuracy in zip(EXITS, OUTPUTS, accuracies, strict=True)
    ]
    if any(before >= after for before, after in pairwise(accuracies)):
        print(f"train: the exits' accuracies do not increase with depth: {accuracies}", file=sys.stderr)
        return 1
    helper.set_model_props(model, {"edge.exits": json.dumps(exits)})
    arguments.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        arguments.out / "heldout.npz", images=images, labels=labels[held_out], indices=held_out
    )
    (arguments.out / "digits.onnx").write_bytes(model.SerializeToString())
    seconds = time.perf_counter() - started
    (arguments.out / "digits.json").write_text(
        json.dumps({"exits": exits, "train_s": round(seconds, 1)}, indent=2)
    )
    shown = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in zip(EXITS, accuracies, strict=True))
    print(f"train: {shown} in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

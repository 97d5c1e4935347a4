from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import settings
from pytest_socket import disable_socket, enable_socket

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Slo, Timing

# The same examples on every run; no time limit for one, because the machine may be busy.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    disable_socket()
    yield
    enable_socket()


# Edgent's regression models (Table 2), in milliseconds, for (Raspberry Pi 3b, desktop server). The meaning of
# the variables and the sizes of the layers are assumptions: an AlexNet for 32x32 CIFAR-10 images in fp32,
# branches of one pooling and one fully connected layer, made-up accuracies, no model loading, no spread
# (p95 = mean), no round trip.
def _convolution(maps: int, kernel: int, filters: int) -> tuple[float, float]:
    x2 = kernel**2 * filters
    return 6.13e-3 * maps + 2.67e-2 * x2 - 9.909, 6.03e-5 * maps + 1.24e-4 * x2 + 0.189


def _relu(size: int) -> tuple[float, float]:
    return 1.5e-5 * size + 0.488, 5.6e-6 * size + 5.69e-2


def _normalisation(size: int) -> tuple[float, float]:
    return 5.19e-4 * size + 0.589, 6.59e-5 * size + 7.80e-2


def _pooling(size: int, out: int) -> tuple[float, float]:
    return 1.33e-4 * size + 3.31e-5 * out + 1.657, 1.63e-5 * size + 4.07e-6 * out + 0.211


def _connected(size: int, out: int) -> tuple[float, float]:
    return 9.18e-4 * size + 3.99e-3 * out + 1.169, max(1.07e-4 * size - 1.83e-4 * out + 0.164, 0.01)


TRUNK = {  # tensor: (elements, the layer that computes it)
    "image": (3 * 32 * 32, (0.0, 0.0)),
    "conv1": (32 * 32 * 32, _convolution(3, 5, 32)),
    "relu1": (32 * 32 * 32, _relu(32 * 32 * 32)),
    "norm1": (32 * 32 * 32, _normalisation(32 * 32 * 32)),
    "pool1": (32 * 16 * 16, _pooling(32 * 32 * 32, 32 * 16 * 16)),
    "conv2": (64 * 16 * 16, _convolution(32, 5, 64)),
    "relu2": (64 * 16 * 16, _relu(64 * 16 * 16)),
    "norm2": (64 * 16 * 16, _normalisation(64 * 16 * 16)),
    "pool2": (64 * 8 * 8, _pooling(64 * 16 * 16, 64 * 8 * 8)),
    "conv3": (96 * 8 * 8, _convolution(64, 3, 96)),
    "conv4": (96 * 8 * 8, _convolution(96, 3, 96)),
    "conv5": (64 * 8 * 8, _convolution(96, 3, 64)),
    "pool5": (64 * 4 * 4, _pooling(64 * 8 * 8, 64 * 4 * 4)),
    "fc6": (256, _connected(64 * 4 * 4, 256)),
    "fc7": (128, _connected(256, 128)),
}
EXITS = {
    "exit1": ("pool1", 0.68),
    "exit2": ("pool2", 0.74),
    "exit3": ("conv3", 0.76),
    "exit4": ("conv4", 0.77),
}


def _branch(tensor: str) -> tuple[float, float]:
    size = TRUNK[tensor][0]
    layers = (
        [_pooling(size, size // 4), _connected(size // 4, 10)] if tensor != "fc7" else [_connected(size, 10)]
    )
    return sum(device for device, _ in layers), sum(server for _, server in layers)


@pytest.fixture
def edgent() -> EntryProblem:
    """Edgent's AlexNet with five exits on its Raspberry Pi 3b and its server; deadline 100 ms."""
    tensors = list(TRUNK)
    branches = {**EXITS, "exit5": ("fc7", 0.78)}
    exits = tuple(
        Exit(
            name,
            f"{name}_logits",
            accuracy,
            tuple(Cut(tensor, TRUNK[tensor][0] * 4) for tensor in tensors[: tensors.index(last) + 1]),
        )
        for name, (last, accuracy) in branches.items()
    )
    costs = {(start, end): TRUNK[end][1] for start, end in pairwise(tensors)}
    costs |= {(last, f"{name}_logits"): _branch(last) for name, (last, _) in branches.items()}
    device, server = (
        ClassProfile(name, {pair: Timing(both[n] / 1e3, both[n] / 1e3) for pair, both in costs.items()})
        for n, name in enumerate(("pi", "desktop"))
    )
    return EntryProblem(Model("alexnet", exits), device, server, rtt=0.0, slo=Slo(0.1), node="pi-1")

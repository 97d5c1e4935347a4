"""Inception-v3 (Szegedy et al. 2016), without the auxiliary classifier."""

from collections.abc import Sequence

from onnx import ModelProto

from benchmarks.graphs.nets import Net

Step = tuple[int, int | tuple[int, int], int, int | tuple[int, int]]


def inception_v3(size: int = 299, classes: int = 1000) -> ModelProto:
    """As torchvision has it."""
    net = Net("inception_v3")
    x = net.input("image", ("batch", 3, size, size))
    x = _steps(net, x, [(32, 3, 2, 0), (32, 3, 1, 0), (64, 3, 1, 1)])
    x = net.pool(x, "MaxPool", 3, 2)
    x = _steps(net, x, [(80, 1, 1, 0), (192, 3, 1, 0)])
    x = net.pool(x, "MaxPool", 3, 2)
    for pooled in (32, 64, 64):
        x = _block_35(net, x, pooled)
    x = _reduction_17(net, x)
    for width in (128, 160, 160, 192):
        x = _block_17(net, x, width)
    x = _reduction_8(net, x)
    for _ in range(2):
        x = _block_8(net, x)
    net.output(net.classifier(x, classes), ("batch", classes))
    return net.model()


def _steps(net: Net, x: str, steps: Sequence[Step]) -> str:
    """Convolutions, each rectified: (filters, kernel, stride, pad)."""
    for filters, kernel, stride, pad in steps:
        x = net.node("Relu", [net.convolution(x, filters, kernel, stride=stride, pad=pad)])
    return x


def _pooled(net: Net, x: str, filters: int) -> str:
    return _steps(net, net.pool(x, "AveragePool", 3, 1, 1), [(filters, 1, 1, 0)])


def _block_35(net: Net, x: str, pooled: int) -> str:
    return net.concat(
        [
            _steps(net, x, [(64, 1, 1, 0)]),
            _steps(net, x, [(48, 1, 1, 0), (64, 5, 1, 2)]),
            _steps(net, x, [(64, 1, 1, 0), (96, 3, 1, 1), (96, 3, 1, 1)]),
            _pooled(net, x, pooled),
        ]
    )


def _reduction_17(net: Net, x: str) -> str:
    return net.concat(
        [
            _steps(net, x, [(384, 3, 2, 0)]),
            _steps(net, x, [(64, 1, 1, 0), (96, 3, 1, 1), (96, 3, 2, 0)]),
            net.pool(x, "MaxPool", 3, 2),
        ]
    )


def _block_17(net: Net, x: str, width: int) -> str:
    across, down = ((1, 7), (0, 3)), ((7, 1), (3, 0))
    return net.concat(
        [
            _steps(net, x, [(192, 1, 1, 0)]),
            _steps(net, x, [(width, 1, 1, 0), (width, across[0], 1, across[1]), (192, down[0], 1, down[1])]),
            _steps(
                net,
                x,
                [
                    (width, 1, 1, 0),
                    (width, down[0], 1, down[1]),
                    (width, across[0], 1, across[1]),
                    (width, down[0], 1, down[1]),
                    (192, across[0], 1, across[1]),
                ],
            ),
            _pooled(net, x, 192),
        ]
    )


def _reduction_8(net: Net, x: str) -> str:
    across, down = ((1, 7), (0, 3)), ((7, 1), (3, 0))
    return net.concat(
        [
            _steps(net, x, [(192, 1, 1, 0), (320, 3, 2, 0)]),
            _steps(
                net,
                x,
                [
                    (192, 1, 1, 0),
                    (192, across[0], 1, across[1]),
                    (192, down[0], 1, down[1]),
                    (192, 3, 2, 0),
                ],
            ),
            net.pool(x, "MaxPool", 3, 2),
        ]
    )


def _block_8(net: Net, x: str) -> str:
    return net.concat(
        [
            _steps(net, x, [(320, 1, 1, 0)]),
            _forked(net, _steps(net, x, [(384, 1, 1, 0)])),
            _forked(net, _steps(net, x, [(448, 1, 1, 0), (384, 3, 1, 1)])),
            _pooled(net, x, 192),
        ]
    )


def _forked(net: Net, x: str) -> str:
    return net.concat(
        [_steps(net, x, [(384, (1, 3), 1, (0, 1))]), _steps(net, x, [(384, (3, 1), 1, (1, 0))])]
    )

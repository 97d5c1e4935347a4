"""Residual networks: ResNet-50 and MobileNet-v2."""

from onnx import ModelProto

from benchmarks.graphs.nets import Net


def resnet50(size: int = 224, classes: int = 1000) -> ModelProto:
    """ResNet-50 (He et al. 2016) with the stride in the 3x3 convolution, as torchvision has it."""
    net = Net("resnet50")
    x = net.input("image", ("batch", 3, size, size))
    x = net.node("Relu", [net.convolution(x, 64, 7, stride=2, pad=3)])
    x = net.pool(x, "MaxPool", 3, 2, 1)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            x = _bottleneck(net, x, width, stride=2 if stage and not block else 1, project=not block)
    net.output(net.classifier(x, classes), ("batch", classes))
    return net.model()


def _bottleneck(net: Net, x: str, width: int, stride: int, *, project: bool) -> str:
    y = net.node("Relu", [net.convolution(x, width, 1)])
    y = net.node("Relu", [net.convolution(y, width, 3, stride=stride, pad=1)])
    y = net.convolution(y, 4 * width, 1)
    shortcut = net.convolution(x, 4 * width, 1, stride=stride) if project else x
    return net.node("Relu", [net.node("Add", [y, shortcut])])


def mobilenet_v2(size: int = 224, classes: int = 1000) -> ModelProto:
    """MobileNet-v2 (Sandler et al. 2018), width 1."""
    net = Net("mobilenet_v2")
    x = net.input("image", ("batch", 3, size, size))
    x = _relu6(net, net.convolution(x, 32, 3, stride=2, pad=1))
    for expansion, filters, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(repeats):
            x = _inverted(net, x, expansion, filters, stride if not repeat else 1)
    x = _relu6(net, net.convolution(x, 1280, 1))
    net.output(net.classifier(x, classes), ("batch", classes))
    return net.model()


def _inverted(net: Net, x: str, expansion: int, filters: int, stride: int) -> str:
    maps = net.channels[x]
    y = x if expansion == 1 else _relu6(net, net.convolution(x, maps * expansion, 1))
    y = _relu6(net, net.convolution(y, maps * expansion, 3, stride=stride, pad=1, group=maps * expansion))
    y = net.convolution(y, filters, 1)
    return net.node("Add", [x, y]) if stride == 1 and maps == filters else y


def _relu6(net: Net, x: str) -> str:
    return net.node("Clip", [x, net.constant(0.0), net.constant(6.0)])

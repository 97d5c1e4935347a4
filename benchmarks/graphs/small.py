"""Small networks of other forms: a chain, an encoder-decoder, two inputs with two outputs."""

from onnx import ModelProto

from benchmarks.graphs.nets import Net


def alexnet(size: int = 224, classes: int = 1000) -> ModelProto:
    """AlexNet in one column (Krizhevsky 2014), as torchvision has it: a chain."""
    net = Net("alexnet")
    x = net.input("image", ("batch", 3, size, size))
    x = net.pool(net.node("Relu", [net.convolution(x, 64, 11, stride=4, pad=2)]), "MaxPool", 3, 2)
    x = net.pool(net.node("Relu", [net.convolution(x, 192, 5, stride=1, pad=2)]), "MaxPool", 3, 2)
    for filters in (384, 256, 256):
        x = net.node("Relu", [net.convolution(x, filters, 3, stride=1, pad=1)])
    side = ((((size - 7) // 4 + 1 - 3) // 2 + 1 - 3) // 2 + 1 - 3) // 2 + 1
    x = net.node("Flatten", [net.pool(x, "MaxPool", 3, 2)])
    for inputs in (256 * side * side, 4096):
        x = net.node("Relu", [net.connected(x, inputs, 4096)])
    net.output(net.connected(x, 4096, classes, "logits"), ("batch", classes))
    return net.model()


def unet(size: int = 128, width: int = 16, classes: int = 2) -> ModelProto:
    """A U-Net (Ronneberger et al. 2015) of four levels: an encoder-decoder with skips."""
    net = Net("unet")
    x = net.input("image", ("batch", 3, size, size))
    skips: list[str] = []
    for level in range(4):
        if level:
            x = net.pool(x, "MaxPool", 2, 2)
        x = _twice(net, x, width << level)
        skips.append(x)
    for level in (2, 1, 0):
        x = net.concat([_raised(net, x, width << level), skips[level]])
        x = _twice(net, x, width << level)
    net.output(net.convolution(x, classes, 1, name="mask"), ("batch", classes, size, size))
    return net.model()


def _twice(net: Net, x: str, filters: int) -> str:
    for _ in range(2):
        x = net.node("Relu", [net.convolution(x, filters, 3, stride=1, pad=1)])
    return x


def _raised(net: Net, x: str, filters: int) -> str:
    name = f"raise_{len(net.nodes)}"
    weight = net.weight(f"{name}.weight", (net.channels[x], filters, 2, 2), 1 / (4 * net.channels[x]))
    output = net.node("ConvTranspose", [x, weight], name, kernel_shape=[2, 2], strides=[2, 2])
    net.channels[output] = filters
    return output


def camera_and_sensors(size: int = 64, sensors: int = 12) -> ModelProto:
    """A network with two inputs (image, readings) and two outputs (label, box)."""
    net = Net("camera_and_sensors")
    x = net.input("picture", ("batch", 3, size, size))
    readings = net.input("readings", ("batch", sensors))
    for filters in (16, 32, 64):
        x = net.pool(net.node("Relu", [net.convolution(x, filters, 3, stride=1, pad=1)]), "MaxPool", 2, 2)
    seen = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    felt = net.node("Relu", [net.connected(readings, sensors, 32)])
    joined = net.concat([seen, felt])
    shared = net.node("Relu", [net.connected(joined, 64 + 32, 48)], "shared")
    label = net.node("Softmax", [net.connected(shared, 48, 10)], "label", axis=-1)
    box = net.node("Sigmoid", [net.connected(shared, 48, 4)], "box")
    net.output(label, ("batch", 10))
    net.output(box, ("batch", 4))
    return net.model()

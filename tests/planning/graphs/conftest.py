from collections.abc import Callable, Sequence

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

Write = Callable[..., ModelProto]


@pytest.fixture
def write() -> Write:
    """A model of nodes (operator, inputs, outputs, attributes) between tensors of given shapes."""

    def written(
        nodes: Sequence[tuple[str, str, str] | tuple[str, str, str, dict[str, object]]],
        inputs: dict[str, Sequence[int | str | None]],
        outputs: dict[str, Sequence[int | str | None] | None],
        *,
        weights: dict[str, np.ndarray] | None = None,
        exits: str | None = None,
        version: int = 18,
        shapes: dict[str, Sequence[int | str]] | None = None,
    ) -> ModelProto:
        protos = []
        for operator, reads, makes, *rest in nodes:
            domain, _, kind = operator.rpartition(".")
            node = helper.make_node(kind, reads.split(), makes.split(), makes.split()[0], domain=domain)
            for attributes in rest:
                node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
            protos.append(node)

        def stated(values: dict[str, Sequence[int | str | None] | None]) -> list[ValueInfoProto]:
            return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values.items()]

        graph = helper.make_graph(
            protos,
            "written",
            stated(dict(inputs)),
            stated(outputs),
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
            value_info=stated(dict(shapes or {})),
        )
        domains = {operator.rpartition(".")[0] for operator, *_ in nodes} - {""}
        opsets = [helper.make_opsetid("", version), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        if exits is not None:
            helper.set_model_props(model, {"edge.exits": exits})
        return model

    return written

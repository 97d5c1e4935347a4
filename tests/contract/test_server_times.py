"""A model on a Triton server is timed by the server's statistics, while it runs on real tensors."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from chains import branches
from edge_operator.tritons.triton import TritonServers
from proxies import triton_like
from stages import alone, split


def test_the_times_are_the_servers_and_the_outputs_are_the_models(tmp_path: Path) -> None:
    file, _ = split(branches(), "joined", tmp_path, "")
    feeds = {"joined": np.ones((1, 6), np.float32)}
    (logits,) = ort.InferenceSession(file.read_bytes()).run(["logits"], feeds)
    with alone(file, name="tail") as (port, _, _), triton_like(port) as triton:
        triton.models["tail"] = file.read_bytes()
        timed = TritonServers().timed(f"http://127.0.0.1:{triton.port}", "tail", feeds, 3)
        assert triton.served == 4, "one request warms up"
    assert timed.seconds == pytest.approx((0.002, 0.002, 0.002))
    np.testing.assert_allclose(timed.outputs["logits"], logits, rtol=1e-5)

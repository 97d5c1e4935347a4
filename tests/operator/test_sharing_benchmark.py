"""The pure parts of `make bench-sharing`, and its client."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import numpy as np
import pytest

from benchmarks.sharing import manifests
from benchmarks.sharing.backlog import Backlog, Received
from benchmarks.sharing.backlog_processes import BacklogProcess
from benchmarks.sharing.lending import Delays, worst
from benchmarks.sharing.shares import division, is_lent, is_returned, max_error, parts, used
from demo.client import Image, Reply
from demo.samples import LabeledImages
from edge_api.devicepools import DevicePoolSpec
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.tenants import TenantSpec
from testbed.errors import NotReadyInTimeError

WEIGHTS = {"light": 1.0, "medium": 2.0, "heavy": 4.0}


def test_a_division_by_weights_has_no_error() -> None:
    assert max_error(parts({"light": 3.0, "medium": 6.0, "heavy": 12.0}), WEIGHTS) == pytest.approx(0.0)


def test_the_error_is_relative_to_the_tenants_own_part() -> None:
    shares = {"light": 1.1 / 7, "medium": 2 / 7, "heavy": 3.9 / 7}

    assert max_error(shares, WEIGHTS) == pytest.approx(0.1)


def test_the_figures_are_in_the_order_of_the_weights() -> None:
    spent = used({"heavy": 2.0, "light": 1.0, "medium": 5.0}, {"heavy": 6.0, "light": 2.0, "medium": 7.0})

    assert division(WEIGHTS, spent, {"heavy": 40, "medium": 20, "light": 20}) == {
        "weights": [1.0, 2.0, 4.0],
        "shares": [0.1429, 0.2857, 0.5714],
        "max_error": 0.0,
        "responses": [20, 20, 40],
        "response_shares": [0.25, 0.25, 0.5],
    }


def test_nothing_has_no_parts() -> None:
    assert parts({"light": 0.0, "heavy": 0.0}) == {"light": 0.0, "heavy": 0.0}


def test_a_share_is_lent_when_one_tenant_uses_nearly_the_whole() -> None:
    assert is_lent({"light": 0.45, "medium": 0.0, "heavy": 0.0}, user="light", whole=0.5)
    assert not is_lent({"light": 0.44, "medium": 0.0, "heavy": 0.06}, user="light", whole=0.5)


def test_a_share_is_returned_when_each_owner_has_nearly_its_part() -> None:
    back = {"light": 0.20, "medium": 0.27, "heavy": 0.53}

    assert is_returned(back, weights=WEIGHTS, borrower="light")
    assert not is_returned({**back, "medium": 0.20, "light": 0.27}, weights=WEIGHTS, borrower="light")


def test_the_worst_of_rounds_is_by_direction() -> None:
    found = worst([Delays(0.5, 2.004), Delays(1.0, 0.25)])

    assert found.rounded == {"lend": 1.0, "reclaim": 2.0}


def test_the_benchmarks_manifests_are_valid() -> None:
    DevicePoolSpec.model_validate(manifests.pool("edge-b", "camera")["spec"])
    TenantSpec.model_validate(manifests.tenant("light", 1.0)["spec"])
    many = manifests.service("light", file="a.onnx", latency=0.4, rate=2.0)
    one = manifests.service("light", file="a.onnx", latency=0.4, rate=2.0, output="logits")

    assert InferenceServiceSpec.model_validate(many["spec"]).model.exits is None
    (exit_,) = InferenceServiceSpec.model_validate(one["spec"]).model.exits or ()
    assert exit_.output == "logits"


class CountingClient:
    """Responds after a turn of the event loop; `fails` of its first requests fail."""

    def __init__(self, fails: int = 0) -> None:
        self.fails, self.open, self.most, self.sent = fails, 0, 0, 0
        self.enough = asyncio.Event()

    async def infer(self, image: Image) -> Reply:
        self.open += 1
        self.most = max(self.most, self.open)
        self.sent += 1
        if self.sent == 20:
            self.enough.set()
        await asyncio.sleep(0)
        self.open -= 1
        if self.sent <= self.fails:
            raise ConnectionError("refused")
        return np.zeros((1, 10), np.float32), {}

    async def close(self) -> None: ...


def run(client: CountingClient, most: int) -> Received:
    samples = LabeledImages(np.zeros((3, 1, 2, 2), np.float32), np.zeros(3, np.int64))
    backlog = Backlog(client, samples, most, timeout=5.0, pause=0.0)

    async def commands() -> AsyncIterator[str]:
        yield "start"
        await client.enough.wait()
        yield "stop"

    asyncio.run(backlog.run(commands()))
    return backlog.received


def test_a_backlog_keeps_its_number_of_requests_open() -> None:
    client = CountingClient()

    received = run(client, most=4)

    assert client.most == 4
    assert client.open == 0
    assert len(received.responses) == client.sent
    assert received.failed == 0


def test_a_backlog_counts_failed_requests_and_sends_on() -> None:
    client = CountingClient(fails=2)

    received = run(client, most=1)

    assert (received.failed, received.error) == (2, "refused")
    assert len(received.responses) == client.sent - 2


def process(program: str) -> BacklogProcess:
    return BacklogProcess(
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )


def test_a_client_is_started_and_stopped_by_lines_and_prints_what_came_back() -> None:
    client = process(
        "import sys, json\n"
        "print('ready', flush=True)\n"
        "lines = sys.stdin.read().split()\n"
        "print(json.dumps({'responses': [1.5], 'failed': 1, 'error': ' '.join(lines)}))"
    )
    client.wait_ready()
    client.start()
    client.stop()

    assert client.received() == Received([1.5], 1, "start stop")
    client.end()


def test_a_client_that_ends_early_is_reported() -> None:
    client = process("raise SystemExit(3)")
    with pytest.raises(NotReadyInTimeError, match="before it was ready"):
        client.wait_ready()
    with pytest.raises(NotReadyInTimeError, match="status 3"):
        client.received()
    client.end()

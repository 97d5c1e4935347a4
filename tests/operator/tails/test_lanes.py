"""A Triton server that hangs, is slow or away holds up no other, and is left alone for a while."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import pytest

from edge_operator.errors import TailRefusedError, TritonBusyError, TritonError, TritonUnreachableError
from edge_operator.store import Blob
from edge_operator.tritons.lanes import Lanes
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import Arrays, Opener, Timed

Result = TypeVar("Result")
SLOW, FINE = "http://slow:8000", "http://fine:8000"
TAIL = Tail(SLOW, "tail", "python", "sha256:" + "0" * 64, (), ())


class Servers:
    """Two servers, of which one waits until it is let go."""

    def __init__(self) -> None:
        self.go, self.done = threading.Event(), threading.Event()
        self.asked = self.hung = 0
        self.failure: TritonError | None = None

    def ready(self, address: str) -> frozenset[str]:
        self._answer(address)
        return frozenset({"tail"})

    def parameters(self, address: str, name: str) -> dict[str, str]:
        self._answer(address)
        return {"name": name}

    def load(self, tail: Tail, onnx: Opener) -> None:
        self._answer(tail.address)

    def unload(self, address: str, name: str) -> None:
        self._answer(address)

    def control_open(self, address: str) -> bool:
        self._answer(address)
        return True

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        self._answer(address)
        return Timed({}, (0.001,) * runs)

    def _answer(self, address: str) -> None:
        if address == SLOW:
            self.asked += 1
            self.hung += 1
            went = self.go.wait(30)
            self.hung -= 1
            assert went
            self.done.set()
            if self.failure is not None:
                raise self.failure


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.go.set()


def _no_file() -> AbstractContextManager[Blob]:
    raise AssertionError("the fake reads no file")


def eventually(call: Callable[[], Result]) -> Result:
    """Calls until the server is not busy."""
    while True:
        try:
            return call()
        except TritonBusyError:
            continue


def test_a_hung_server_holds_up_no_other(servers: Servers) -> None:
    lanes = Lanes(servers, patience=0.01)
    with pytest.raises(TritonBusyError, match="loading tail"):
        lanes.load(TAIL, _no_file)
    with pytest.raises(TritonBusyError, match="loading tail"):
        lanes.ready(SLOW)
    assert eventually(lambda: lanes.ready(FINE)) == {"tail"}
    assert servers.hung == 1, "the other server responds at the same time"
    assert servers.asked == 1, "one request at a time"


def test_a_load_that_takes_longer_continues_without_its_caller(servers: Servers) -> None:
    lanes = Lanes(servers, patience=0.01)
    with pytest.raises(TritonBusyError):
        lanes.load(TAIL, _no_file)
    servers.go.set()
    assert servers.done.wait(30)
    assert eventually(lambda: lanes.ready(SLOW)) == {"tail"}


def test_the_error_of_a_load_without_a_caller_reaches_the_next_one(servers: Servers) -> None:
    lanes = Lanes(servers, patience=0.01)
    servers.failure = TailRefusedError("no such backend")
    with pytest.raises(TritonBusyError):
        lanes.load(TAIL, _no_file)
    servers.go.set()
    with pytest.raises(TailRefusedError, match="no such backend"):
        eventually(lambda: lanes.load(TAIL, _no_file))


def test_a_server_that_is_away_is_left_alone_longer_each_time(servers: Servers) -> None:
    now = [0.0]
    servers.go.set()
    servers.failure = TritonUnreachableError("no response")
    lanes = Lanes(servers, clock=lambda: now[0], jitter=lambda: 1.0, patience=30)
    pauses = []
    for _ in range(8):
        asked = servers.asked
        began = now[0]
        with pytest.raises(TritonUnreachableError, match="no response"):
            lanes.ready(SLOW)
        while servers.asked == asked:
            now[0] += 1
            with pytest.raises(TritonUnreachableError, match="no response"):
                lanes.ready(SLOW)
        pauses.append(now[0] - began)
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 60
    servers.failure = None
    now[0] += 60
    assert lanes.ready(SLOW) == {"tail"}


def test_a_request_that_is_left_out_says_how_long_the_breaker_rests(servers: Servers) -> None:
    now = [0.0]
    servers.go.set()
    servers.failure = TritonUnreachableError("no response")
    lanes = Lanes(servers, clock=lambda: now[0], jitter=lambda: 1.0, patience=30)
    with pytest.raises(TritonUnreachableError) as failed:
        lanes.ready(SLOW)
    assert failed.value.rest == 2.0
    now[0] = 0.5
    with pytest.raises(TritonUnreachableError) as left_out:
        lanes.ready(SLOW)
    assert left_out.value.rest == 1.5


def test_a_patient_caller_waits_longer_in_the_same_lane(servers: Servers) -> None:
    lanes = Lanes(servers, patience=0.01)
    patient = lanes.patiently(30)
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(patient.ready, SLOW)
        while not servers.asked:
            threading.Event().wait(0.001)
        with pytest.raises(TritonBusyError, match="listing its models"):
            lanes.load(TAIL, _no_file)
        servers.go.set()
        assert found.result(30) == {"tail"}
    assert servers.asked == 1

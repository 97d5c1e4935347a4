"""The process of a host serves in place of a pod, and hands over to it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_runtime.cli import _parser
from edge_runtime.server import run
from edge_runtime.stand_in import looks, process
from edge_runtime.stand_in.process import Options, StandIn
from loops import in_thread
from placed import NODE, NOWHERE, adding, placement
from waiting import until

POD = "127.0.0.2"
ZEROS = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}


class Host:
    """A host with the volume of a pod, and a program that records the packet rules instead of nft."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pod = folder / "kubelet" / "pods" / "1"
        self.cache = self.pod / "volumes" / "kubernetes.io~empty-dir" / "cache"
        self.rules = folder / "rules"
        self.nft = folder / "nft"
        self.nft.write_text(f"#!/bin/sh\ncat > {self.rules}.new\nmv {self.rules}.new {self.rules}\n")
        self.nft.chmod(0o755)
        model = adding(1)
        digest = hashlib.sha256(model).hexdigest()
        (self.cache / "slices").mkdir(parents=True)
        (self.cache / "slices" / digest).write_bytes(model)
        document = placement("ones", f"sha256:{digest}")
        document["metadata"]["namespace"] = "default"
        document["spec"]["hostPorts"] = {"http": 30080}
        (self.cache / "services" / "ones").mkdir(parents=True)
        (self.cache / "services" / "ones" / "placement.json").write_text(json.dumps(document))

    @contextmanager
    def standing_in(self, unit_file: Path | None = None) -> Iterator[threading.Thread]:
        program = (sys.executable, "-m", "edge_runtime.cli")
        kubelet = self.folder / "kubelet"
        options = Options(program, kubelet, self.folder / "dir", self.nft, 0.0, unit_file, user=None)
        found = StandIn(options)
        thread = threading.Thread(target=found.run)
        thread.start()
        try:
            yield thread
        finally:
            found.stop()
            thread.join()

    def port(self) -> int | None:
        """The port of this host that the rules lead to."""
        text = self.rules.read_text() if self.rules.exists() else ""
        _, _, rest = text.partition("tcp dport 30080 redirect to :")
        return int(rest.split()[0]) if rest else None

    @contextmanager
    def pod_runs(self) -> Iterator[None]:
        """The kubelet has started the pod, which becomes ready."""
        named = {"namespace": "default", "node": NODE, "store": NOWHERE, "host": POD}
        named |= {"cache-dir": str(self.cache)} | {f"{k}-port": str(v) for k, v in process.PORTS.items()}
        arguments = _parser().parse_args(["run", "--from-disk", *(f"--{k}={v}" for k, v in named.items())])
        (self.pod / "etc-hosts").write_text(f"127.0.0.1\tlocalhost\n{POD}\tedge-runtime-edge-a-0\n")
        with in_thread(lambda stop: run(arguments, stop, drain=0.0)):
            yield


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(process, "PORTS", {"http": looks.free_port(), "grpc": looks.free_port()})
    monkeypatch.setattr(process, "_EVERY", 0.05)
    monkeypatch.setattr(process, "_DRAIN", "500ms")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # not on the main thread here
    return Host(tmp_path)


def infer(port: int) -> Any:
    url = f"http://127.0.0.1:{port}/v2/models/ones/infer"
    return httpx.post(url, json=ZEROS, timeout=30).json()["outputs"][0]["data"]


def test_the_node_port_is_served_from_a_copy_of_the_volume_and_handed_over(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_cluster = [""]  # which process responds by the rules of the cluster

    def instance(address: str, port: int, *, by_cluster: bool = False) -> str:
        return led() if by_cluster else "pod"

    def led() -> str:
        return by_cluster[0]

    monkeypatch.setattr(looks, "instance", instance)
    with host.standing_in() as thread:
        until(lambda: host.port() is not None, "the rules lead to the process")
        port = host.port()
        assert port is not None
        assert infer(port) == [1.0] * 4
        copied = host.folder / "dir" / "serving" / "default" / "services" / "ones" / "placement.json"
        assert copied.exists()
        with host.pod_runs():
            until(lambda: f"to {POD}:" in host.rules.read_text(), "new connections go to the pod")
            assert infer(port) == [1.0] * 4, "connections to the process are still served"
            assert thread.is_alive()
            by_cluster[0] = "pod"
            until(lambda: not thread.is_alive(), "it has ended")
    assert "redirect" not in host.rules.read_text()
    assert "dnat" not in host.rules.read_text()
    assert list((host.folder / "dir").iterdir()) == []


def test_a_pod_that_is_ready_when_the_host_starts_leaves_nothing_to_do(host: Host) -> None:
    with host.pod_runs():
        until(lambda: looks.ready(POD, process.PORTS["http"]), "the pod is ready")
        with host.standing_in() as thread:
            until(lambda: not thread.is_alive(), "it has ended")
    assert not (host.folder / "dir").exists()


def test_the_process_ends_with_its_unit(host: Host, tmp_path: Path) -> None:
    unit = tmp_path / "edge-runtime.service"
    unit.touch()
    with host.standing_in(unit) as thread:
        until(lambda: host.port() is not None, "the rules lead to the process")
        unit.unlink()
        until(lambda: not thread.is_alive(), "it has ended")
    assert host.port() is None


def test_a_process_that_dies_is_started_again(host: Host) -> None:
    with host.standing_in():
        until(lambda: host.port() is not None, "the rules lead to the process")
        first = host.port()
        (pid,) = _children("--from-disk")
        os.kill(pid, 9)
        until(lambda: host.port() not in (None, first), "the rules lead to the next process")
        port = host.port()
        assert port is not None
        assert infer(port) == [1.0] * 4


def _children(word: str) -> list[int]:
    """Child processes of this one with a word in their command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        parent = path.read_text().rpartition(")")[2].split()[1]
        command = (path.parent / "cmdline").read_text().split("\0")
        if int(parent) == os.getpid() and word in command:
            found.append(int(path.parent.name))
    return found

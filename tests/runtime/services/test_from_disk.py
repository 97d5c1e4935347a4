"""`edge-runtime run --from-disk`: what is on the disk is served without an API server."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli import _parser
from edge_runtime.server import run
from loops import in_thread
from placed import NODE, NOWHERE, adding, placement
from stages import ask
from waiting import until

ZEROS = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}


def keep(cache: Path, name: str, number: float, **spec: Any) -> None:
    """Leaves a service on the disk as a runtime does that served it before."""
    model = adding(number)
    digest = hashlib.sha256(model).hexdigest()
    (cache / "slices").mkdir(parents=True, exist_ok=True)
    (cache / "slices" / digest).write_bytes(model)
    folder = cache / "services" / name
    folder.mkdir(parents=True)
    (folder / "placement.json").write_text(json.dumps(placement(name, f"sha256:{digest}", **spec)))


@contextmanager
def running(folder: Path, drain: float = 0.0) -> Iterator[Path]:
    """A runtime of what is on the disk; yields the folder of its sockets."""
    named = {"namespace": "default", "node": NODE, "store": NOWHERE, "host": "127.0.0.1"}
    named |= {"http-port": "0", "grpc-port": "0", "uds": str(folder / "uds")}
    named |= {"cache-dir": str(folder / "cache")}
    words = [f"--{name}={value}" for name, value in named.items()]
    arguments = _parser().parse_args(["run", "--from-disk", *words])
    with in_thread(lambda stop: run(arguments, stop, drain)):
        until(lambda: _ready(folder / "uds"), "it is ready")
        yield folder / "uds"


def _ready(sockets: Path) -> bool:
    try:
        return bool(ask(sockets, "GET", "/v2/health/ready")[0] == 200)
    except OSError:
        return False


def infer(sockets: Path, model: str) -> tuple[int, Any]:
    found: tuple[int, Any] = ask(sockets, "POST", f"/v2/models/{model}/infer", ZEROS)
    return found


def test_all_services_on_the_disk_are_served(tmp_path: Path) -> None:
    keep(tmp_path / "cache", "ones", 1)
    keep(tmp_path / "cache", "twos", 2)
    with running(tmp_path) as sockets:
        for name, number in (("ones", 1.0), ("twos", 2.0)):
            code, said = infer(sockets, name)
            assert (code, said["outputs"][0]["data"]) == (200, [number] * 4)


def test_each_service_is_refused_once_its_autonomy_has_passed(tmp_path: Path) -> None:
    keep(tmp_path / "cache", "brief", 1, autonomy="1m0s")
    keep(tmp_path / "cache", "patient", 2, autonomy="24h0m0s")
    (tmp_path / "cache" / "last-word").write_text(f"{time.time() - 3600:.0f}\n")
    with running(tmp_path) as sockets:
        until(lambda: infer(sockets, "brief")[0] == 503, "the service is refused")
        assert "longer than the autonomy of 1m0s" in infer(sockets, "brief")[1]["error"]
        assert infer(sockets, "patient")[0] == 200


def test_serving_from_the_disk_is_not_a_contact_to_the_api_server(tmp_path: Path) -> None:
    keep(tmp_path / "cache", "ones", 1, autonomy="24h0m0s")
    (tmp_path / "cache" / "last-word").write_text("1700000000\n")
    with running(tmp_path) as sockets:
        until(lambda: infer(sockets, "ones")[0] == 503, "the service is refused")
    assert (tmp_path / "cache" / "last-word").read_text() == "1700000000\n"


def test_a_file_of_placements_and_the_disk_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--namespace=a", "--node=b", "--store=c", "--cache-dir=d"]
    with pytest.raises(SystemExit):
        _parser().parse_args([*words, "--from-disk", "--placement-file=e"])
    assert "not allowed with argument" in capsys.readouterr().err

"""The package with the OpenVINO execution provider: where it is installed, and how it comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from messages import mentions
from testbed.errors import MachineUnfitError
from testbed.layout import Layout
from testbed.openvino import environment, install


def silent(_: str) -> None:
    """Shows no progress."""


def layout(folder: Path, script: str) -> Layout:
    """A checkout whose uv is a script."""
    uv = folder / ".cache" / "uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(f"#!/bin/sh\n{script}\n")
    uv.chmod(0o755)
    lock = folder / "requirements" / "openvino.lock"
    lock.parent.mkdir()
    lock.write_text("onnxruntime-openvino==1.24.1\n")
    return Layout.of_checkout(folder)


def test_it_is_installed_by_hash_into_the_cache_once_for_each_lock(tmp_path: Path) -> None:
    checkout = layout(
        tmp_path,
        f'echo "$@" >> {tmp_path}/calls; while [ "$1" != --target ]; do shift; done; mkdir -p "$2"',
    )
    first = install(checkout, silent)
    assert first.parent == tmp_path / ".cache" / "openvino"
    assert install(checkout, silent) == first
    (call,) = (tmp_path / "calls").read_text().splitlines()
    lock = tmp_path / "requirements" / "openvino.lock"
    assert {"--require-hashes", "--no-deps", str(lock)} <= set(call.split())
    lock.write_text("onnxruntime-openvino==1.25.0\n")
    second = install(checkout, silent)
    assert second != first
    assert not first.exists()


def test_a_machine_without_a_wheel_gets_an_error_that_names_the_package(tmp_path: Path) -> None:
    checkout = layout(tmp_path, "echo no wheels with a matching platform tag; exit 1")
    with pytest.raises(MachineUnfitError, match=mentions("onnxruntime-openvino", "matching platform tag")):
        install(checkout, silent)


def test_it_comes_first_on_the_path_and_is_the_preferred_provider() -> None:
    found = environment(Path("/package"), {"PYTHONPATH": "/mine", "HOME": "/root"})
    assert found == {
        "PYTHONPATH": "/package:/mine",
        "EDGE_EXECUTION_PROVIDERS": "OpenVINO,CPU",
        "HOME": "/root",
    }

"""What the kubelet of a host keeps of the runtimes' pods."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edge_runtime.stand_in.kept_runtimes import KeptRuntime, Key, copy_cache, kept_runtimes

HOSTS = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost\nfe00::\tip6-localnet\n"


def document(service: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{service}.edge-a", "namespace": namespace},
        "spec": {"service": service, "node": "edge-a", "routes": [], **spec},
    }


def keep(kubelet: Path, uid: str, *documents: dict[str, Any], lone: bool = False, word: float = 0) -> Path:
    """Writes the folder of a runtime's pod; returns that of its cache."""
    cache = kubelet / "pods" / uid / "volumes" / "kubernetes.io~empty-dir" / "cache"
    for each in documents:
        folder = cache if lone else cache / "services" / each["spec"]["service"]
        folder.mkdir(parents=True)
        (folder / "placement.json").write_text(json.dumps(each))
    (cache / "last-word").write_text(f"{word:.0f}\n")
    os.utime(cache / "last-word", (word, word))
    return cache


def only(kubelet: Path) -> KeptRuntime:
    (found,) = kept_runtimes(kubelet).values()
    return found


def test_the_services_of_a_namespace_are_one_runtime_with_the_ports_that_they_declare(tmp_path: Path) -> None:
    ports = {"http": 30080, "grpc": 30081}
    keep(tmp_path, "1", document("digits", hostPorts=ports), document("faces", hostPorts={"http": 30090}))
    found = only(tmp_path)
    assert (found.key, found.node, found.services) == (Key("shop"), "edge-a", ("digits", "faces"))
    assert found.ports == {30080: "http", 30081: "grpc", 30090: "http"}


def test_a_service_with_a_runtime_of_its_own_is_found_by_its_name(tmp_path: Path) -> None:
    keep(tmp_path, "1", document("digits"), lone=True)
    keep(tmp_path, "2", document("faces"))
    keep(tmp_path, "3", document("faces", "other"))
    assert sorted(kept_runtimes(tmp_path)) == [Key("other"), Key("shop"), Key("shop", "digits")]


def test_of_two_pods_the_one_with_the_last_contact_counts(tmp_path: Path) -> None:
    keep(tmp_path, "new", document("digits", hostPorts={"http": 30001}), word=2_000)
    keep(tmp_path, "old", document("digits", hostPorts={"http": 30000}), word=1_000)
    assert only(tmp_path).ports == {30001: "http"}
    assert [pod.name for pod in only(tmp_path).pods] == ["new", "old"]


def test_other_pods_and_damaged_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "pods" / "web" / "volumes" / "kubernetes.io~empty-dir" / "cache").mkdir(parents=True)
    cache = keep(tmp_path, "1", document("digits"))
    (cache / "services" / "digits" / "placement.json").write_text("{")
    assert kept_runtimes(tmp_path) == {}
    assert kept_runtimes(tmp_path / "nowhere") == {}


def test_values_that_are_not_ports_are_left_out(tmp_path: Path) -> None:
    keep(tmp_path, "1", document("digits", hostPorts={"http": 0, "grpc": "30081", "ssh": 22}))
    assert only(tmp_path).ports == {}


def test_the_address_of_a_pod_is_the_one_that_the_kubelet_gave_it_last(tmp_path: Path) -> None:
    keep(tmp_path, "1", document("digits"))
    assert list(only(tmp_path).addresses) == []
    (tmp_path / "pods" / "1" / "etc-hosts").write_text(f"{HOSTS}10.42.0.7\tedge-runtime-edge-a-6d\n")
    assert list(only(tmp_path).addresses) == ["10.42.0.7"]


def test_a_copy_has_all_that_a_start_from_the_disk_needs(tmp_path: Path) -> None:
    cache = keep(tmp_path / "kubelet", "1", document("digits"), word=1_700_000_000)
    (cache / "slices").mkdir()
    (cache / "slices" / "abc").write_bytes(b"slice")
    (cache / "trials").mkdir()
    (cache / "trials" / "abc").write_text("fine")
    target = tmp_path / "serving" / "shop"
    for _ in range(2):  # a second copy replaces the first
        copy_cache(only(tmp_path / "kubelet"), target, None)
        (target / "slices" / "stray").touch()
    copy_cache(only(tmp_path / "kubelet"), target, None)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"last-word", "services/digits/placement.json", "slices/abc", "trials/abc"}
    assert (target / "last-word").read_text() == "1700000000\n"


def test_the_pod_and_the_copy_do_not_change_each_others_files(tmp_path: Path) -> None:
    cache = keep(tmp_path / "kubelet", "1", document("digits"))
    target = tmp_path / "serving" / "shop"
    copy_cache(only(tmp_path / "kubelet"), target, None)
    (target / "services" / "digits" / "placement.json").write_text("{}")
    assert json.loads((cache / "services" / "digits" / "placement.json").read_text()) == document("digits")

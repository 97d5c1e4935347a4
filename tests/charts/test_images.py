"""A release has the chart, and the list of its images for clusters without network access, and pins them."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from edge_chart.archive import packed
from edge_chart.images import digest_of, pinned, references
from edge_chart.values import ChartValues

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]
CHART = Path(__file__).parents[2] / "charts" / "edge-intelligence"
DIGEST = f"sha256:{'b' * 64}"


def _images(objects: list[dict[str, Any]]) -> set[str]:
    """The images of pods, and of those that the operator makes."""
    pods = [body["spec"]["template"]["spec"] for body in objects if body["kind"] == "Deployment"]
    pods += [body["spec"] for body in objects if body["kind"] == "Pod"]
    containers = [container for pod in pods for container in pod["containers"]]
    variables = [v for container in containers for v in container.get("env", ())]
    made = {v["value"] for v in variables if v["name"] == "EDGE_RUNTIME_IMAGE"}
    return made | {container["image"] for container in containers}


def test_the_list_has_all_images_of_the_chart_and_no_others(render: Render) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())
    *always, optional = references(version["appVersion"])
    assert set(always) == _images(render())
    note, _, image = optional.partition(": ")
    assert note == "# with triton.enabled"
    assert {image} == _images(render("triton.enabled=true")) - set(always)


def test_images_are_named_without_a_host_so_that_imported_ones_are_found() -> None:
    first, second, _ = references("1.2.3")
    assert (first, second) == ("edge-intelligence/operator:1.2.3", "edge-intelligence/runtime:1.2.3")


def test_digests_of_archives_become_values_of_the_chart(tmp_path: Path) -> None:
    archive, index = tmp_path / "image.oci.tar", json.dumps({"manifests": [{"digest": DIGEST}]}).encode()
    with tarfile.open(archive, "w") as files:
        entry = tarfile.TarInfo("index.json")
        entry.size = len(index)
        files.addfile(entry, io.BytesIO(index))
    given = yaml.safe_load(pinned({"operator": digest_of(archive)}))
    assert given == {"operator": {"image": {"digest": DIGEST}}}
    whole = ChartValues().model_dump(by_alias=True, exclude_none=True)
    whole["operator"]["image"] |= given["operator"]["image"]
    assert ChartValues.model_validate(whole).operator.image.digest == DIGEST


def test_the_packed_chart_renders_the_same_and_has_the_same_bytes_each_time(
    helm: Helm, render: Render, tmp_path: Path
) -> None:
    archive = packed(CHART, tmp_path)
    first = archive.read_bytes()
    assert packed(CHART, tmp_path).read_bytes() == first
    flags = ("--namespace", "edge-intelligence", "--kube-version", "1.34.2")
    done = helm("template", "test", str(archive), *flags)
    assert done.returncode == 0, done.stderr
    assert [body for body in yaml.safe_load_all(done.stdout) if body] == render()

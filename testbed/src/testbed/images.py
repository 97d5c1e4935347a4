"""The container images of the testbed, and how they are imported into nodes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.builds import Builder, Image, Recipe
from testbed.layout import Layout
from testbed.nodes import CONTAINERD_SOCKET, NodeFiles
from testbed.oci import write_program_image
from testbed.processes import ProcessRecord, entering, run

LIBRARIES = ("api", "planning")
JOBS_IMAGE = "k3s-jobs"
"""Name of the image of the jobs of helm-controller and of local-path-provisioner."""
BESIDE = {"operator": ("console",)}
"""Other distributions in an image."""
REPOSITORY, TAG = "localhost/edge-intelligence", "0.1.0"
CHART_NAMES = {name: f"edge-intelligence/{name}:{TAG}" for name in ("operator", "runtime")}
"""References of the images by which the chart names them without values."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def reference(name: str) -> str:
    """The image's reference in manifests."""
    return f"{REPOSITORY}/{name}:{TAG}"


def program_image(layout: Layout, name: str, program: Path) -> Path:
    """Returns the archive of an image of one static program; rewritten if the program changed."""
    layout.images.mkdir(parents=True, exist_ok=True)
    target = layout.images / f"{program.name}.oci.tar"
    if not target.exists():
        machine = platform.machine()
        write_program_image(program, name, reference(name), target, ARCHITECTURES.get(machine, machine))
    return target


def k3s_jobs_image(layout: Layout, jobs: Path, helm: Path) -> Path:
    """Returns the archive of the image of the jobs of a cluster that is like K3s; see `testbed.k3s`."""
    layout.images.mkdir(parents=True, exist_ok=True)
    target = layout.images / f"{jobs.name}-with-{helm.name}.oci.tar"
    if not target.exists():
        machine = platform.machine()
        architecture = ARCHITECTURES.get(machine, machine)
        others = {"bin/sh": jobs, "helm": helm}
        write_program_image(jobs, JOBS_IMAGE, reference(JOBS_IMAGE), target, architecture, others)
    return target


def operator_image(layout: Layout, builder: Builder) -> Image:
    """The project's operator."""
    return _project_image(layout, builder, "operator")


def runtime_image(layout: Layout, builder: Builder) -> Image:
    """The project's runtime."""
    return _project_image(layout, builder, "runtime")


def image_at(layout: Layout, builder: Builder, name: str, commit: str) -> Image:
    """The project's operator or runtime of another commit. layout, builder: with its files as sources."""
    recipe = Recipe(f"{commit}-{name}", layout.sources / "Dockerfile", [], target=name)
    return builder.image(recipe, f"{REPOSITORY}/{name}:{commit}")


def triton_image(layout: Layout, builder: Builder) -> Image:
    """A Triton server with the python backend."""
    lock = layout.sources / "requirements" / "triton.lock"
    return builder.image(
        Recipe("triton", layout.sources / "testbed" / "triton.Dockerfile", [lock]), reference("triton")
    )


def _project_image(layout: Layout, builder: Builder, name: str) -> Image:
    locks = [layout.sources / "requirements" / f"{lock}.lock" for lock in (name, "build")]
    code = [layout.sources / folder for folder in (*LIBRARIES, name, *BESIDE.get(name, ()))]
    recipe = Recipe(name, layout.sources / "Dockerfile", [*code, *locks], target=name, tagged=True)
    return builder.image(recipe, reference(name))


Build = Callable[[Layout, Builder], Image]
ALL: tuple[Build, ...] = (operator_image, runtime_image, triton_image)


def add_name(machine: ProcessRecord, image: Image, reference: str) -> None:
    """Gives an image that a node has another reference, as that of a registry. reference: without a host."""
    ctr = ["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", "images", "tag", "--force"]
    run([*entering(machine), *ctr, image.reference, f"docker.io/{reference}"])


@dataclass(frozen=True)
class Shelf:
    """The images of one node; each is imported once."""

    layout: Layout
    node: str

    @property
    def _marks(self) -> Path:
        return NodeFiles.of(self.layout, self.node).folder / "images"

    def holds(self, archive: Path) -> bool:
        return (self._marks / archive.name).exists()

    def import_archive(self, machine: ProcessRecord, archive: Path) -> None:
        if self.holds(archive):
            return
        ctr = [
            "ctr",
            "--address",
            CONTAINERD_SOCKET,
            "--namespace",
            "k8s.io",
            "images",
            "import",
            str(archive),
        ]
        run([*entering(machine), *ctr])
        self._marks.mkdir(parents=True, exist_ok=True)
        (self._marks / archive.name).touch()

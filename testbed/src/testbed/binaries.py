"""Finds or builds the programs of the cluster; never downloads binaries.

Sources in this order: the folder named by KUBEBUILDER_ASSETS, the cache, the Go toolchain. Programs of other
versions are not used. The go.mod and go.sum files in `gomods/` pin what is built.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import BinaryUnavailableError, CommandFailedError
from testbed.locks import holding
from testbed.processes import run
from testbed.progress import Progress, step

GOMODS = Path(__file__).with_name("gomods")
KUBERNETES = "v1.34.2"
ETCD, HELM, COREDNS = "v3.6.5", "v3.19.5", "v1.12.4"
VALE_VERSION = "v3.15.2"
KWOK_VERSION = "v0.7.0"
VERSITYGW_VERSION, REGISTRY_VERSION = "v1.8.0", "v3.1.2"
KINE_VERSION, LOCAL_PATH_VERSION, HELM_CONTROLLER_VERSION = "v0.17.5", "v0.0.30", "v0.17.9"
KUBE_ROUTER_VERSION, K3S_JOBS_VERSION = "v2.1.0", "v1"
FLANNEL_VERSION, HELM_4_VERSION = "v0.28.10", "v4.3.2"
ASSETS = "KUBEBUILDER_ASSETS"
# Fewer garbage collections in the compiler: a third less CPU time for a gigabyte more of memory.
GC_PERCENT = "800"
_ANOTHER_BUILD = 1200.0  # seconds to wait while another process builds the same programs


@dataclass(frozen=True)
class Program:
    """A program, the module in `gomods/` that pins it, and the package to build.

    cgo: whether its packages hold C sources, so that the build needs a C compiler.
    """

    name: str
    version: str
    module: str
    package: str
    version_command: tuple[str, ...] = ("--version",)
    variables: Mapping[str, str] = field(default_factory=dict)
    cgo: bool = False

    @property
    def cached_name(self) -> str:
        return f"{self.name}-{self.version}"


def _kubernetes(name: str) -> Program:
    stamp = {"k8s.io/component-base/version.gitVersion": KUBERNETES}
    command = ("version", "--client") if name == "kubectl" else ("--version",)
    return Program(name, KUBERNETES, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", command, stamp)


PROGRAMS = (
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    _kubernetes("kubectl"),
    Program("etcd", ETCD, "etcd", "go.etcd.io/etcd/server/v3"),
    Program(
        "helm",
        HELM,
        "helm",
        "helm.sh/helm/v3/cmd/helm",
        ("version",),
        {"helm.sh/helm/v3/internal/version.version": HELM},
    ),
    Program("coredns", COREDNS, "coredns", ".", ("-version",)),
    Program("pause", "v1", "pause", "."),
)


# Not one of the cluster's PROGRAMS: only `make lint` runs it.
VALE = Program(
    "vale",
    VALE_VERSION,
    "vale",
    "github.com/errata-ai/vale/v3/cmd/vale",
    variables={"main.version": VALE_VERSION},
    cgo=True,
)

# Started on demand only: see `testbed.kwok`.
KWOK = Program(
    "kwok",
    KWOK_VERSION,
    "kwok",
    "sigs.k8s.io/kwok/cmd/kwok",
    variables={"sigs.k8s.io/kwok/pkg/consts.Version": KWOK_VERSION},
)

# Started by tests alone: sources of models.
S3_SERVER = Program("versitygw", VERSITYGW_VERSION, "versitygw", "github.com/versity/versitygw/cmd/versitygw")
REGISTRY = Program(
    "registry", REGISTRY_VERSION, "registry", "github.com/distribution/distribution/v3/cmd/registry"
)

# Parts of K3s, for `testbed up --like k3s`.
KINE = Program("kine", KINE_VERSION, "kine", "github.com/k3s-io/kine", cgo=True)
LOCAL_PATH = Program(
    "local-path-provisioner",
    LOCAL_PATH_VERSION,
    "local-path-provisioner",
    "github.com/rancher/local-path-provisioner",
)
HELM_CONTROLLER = Program(
    "helm-controller", HELM_CONTROLLER_VERSION, "helm-controller", "github.com/k3s-io/helm-controller"
)
KUBE_ROUTER = Program(
    "kube-router",
    KUBE_ROUTER_VERSION,
    "kube-router",
    "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
)
FLANNEL = Program("flannel", FLANNEL_VERSION, "flannel", ".")
K3S_JOBS = Program("k3s-jobs", K3S_JOBS_VERSION, "k3s-jobs", ".")
K3S = (KINE, LOCAL_PATH, HELM_CONTROLLER, KUBE_ROUTER, FLANNEL, K3S_JOBS)

# Tests of the chart run it beside the testbed's own, which is that of K3s.
HELM_4 = Program("helm4", HELM_4_VERSION, "helm4", "helm.sh/helm/v4/cmd/helm")


def says_version(output: str, version: str) -> bool:
    """Whether a program's output names exactly this version (1.34.2 is not 1.34.20)."""
    return re.search(rf"(?<![\d.]){re.escape(version.removeprefix('v'))}(?![\d.]*\d)", output) is not None


def _from_assets(program: Program, assets: str | None) -> Path | None:
    if not assets:
        return None
    path = Path(assets) / program.name
    if not os.access(path, os.X_OK):
        return None
    try:
        output = run([str(path), *program.version_command], timeout_seconds=20)
    except CommandFailedError:
        return None
    return path if says_version(output, program.version) else None


def build_command(programs: Sequence[Program], go: str, folder: Path) -> list[str]:
    """Returns the argv of a build into `folder`, pinned by go.mod and go.sum of the programs' module.

    One build for all programs of a module compiles shared packages once, and links one program while another
    compiles.
    """
    variables = {name: value for program in programs for name, value in program.variables.items()}
    stamps = " ".join(f"-X {name}={value}" for name, value in variables.items())
    flags = [f"-ldflags=-s -w {stamps}".rstrip(), "-gcflags=all=-dwarf=false", "-trimpath"]
    flags += ["-buildvcs=false", "-mod=readonly"]
    # With several packages, -o must be a folder: each program gets the name of its package.
    output = folder / programs[0].name if len(programs) == 1 else f"{folder}{os.sep}"
    return [go, "build", *flags, "-o", str(output), *(program.package for program in programs)]


def by_module(programs: Iterable[Program]) -> list[list[Program]]:
    """Groups the programs by module, in order."""
    groups: dict[str, list[Program]] = {}
    for program in programs:
        groups.setdefault(program.module, []).append(program)
    return list(groups.values())


class Binaries:
    """Finds or builds programs into `cache`. `inside`: argv prefix, so that builds end with the testbed."""

    def __init__(self, cache: Path, progress: Progress, inside: Sequence[str] = ()) -> None:
        self._cache, self._progress, self._inside = cache, progress, list(inside)

    def all(self) -> dict[str, Path]:
        found = {program.name: self.find(program) for program in PROGRAMS}
        missing = [program for program in PROGRAMS if found[program.name] is None]
        if missing and shutil.which("go") is None:
            raise BinaryUnavailableError(
                f"no {missing[0].name} {missing[0].version} and no Go toolchain to build it with: "
                f"put `go` (1.24 or newer) on PATH, set {ASSETS} to a folder with the programs, "
                "or use an existing cluster: set KUBECONFIG and run `make demo CLUSTER=existing`"
            )
        for group in by_module(missing):
            found |= self._build(group)
        return {name: path for name, path in found.items() if path is not None}

    def one(self, program: Program) -> Path:
        """Finds or builds one program. Raises BinaryUnavailableError."""
        return self.find(program) or self._build([program])[program.name]

    def find(self, program: Program) -> Path | None:
        cached = self._cache / program.cached_name
        return _from_assets(program, os.environ.get(ASSETS)) or (
            cached if os.access(cached, os.X_OK) else None
        )

    def _build(self, programs: Sequence[Program]) -> dict[str, Path]:
        """Builds one module's programs, or waits while another does. Raises BinaryUnavailableError."""
        lock = self._cache.parent / f"go-tmp-{programs[0].module}.lock"
        with holding(lock, _ANOTHER_BUILD):
            found = {program.name: self.find(program) for program in programs}
            missing = [program for program in programs if found[program.name] is None]
            built = self._build_alone(missing) if missing else {}
        return {name: path for name, path in found.items() if path is not None} | built

    def _build_alone(self, programs: Sequence[Program]) -> dict[str, Path]:
        names = ", ".join(program.name for program in programs)
        self._cache.mkdir(parents=True, exist_ok=True)
        # Built in another folder: the result of an interrupted build must not look like a program.
        work = self._cache.parent / f"go-tmp-{programs[0].module}"
        unfinished = work / "programs"
        unfinished.mkdir(parents=True, exist_ok=True)
        command = build_command(programs, shutil.which("go") or "go", unfinished)
        cgo = int(any(program.cgo for program in programs))
        env = ["env", f"--chdir={GOMODS / programs[0].module}", f"CGO_ENABLED={cgo}", "GOWORK=off"]
        env += [f"GOTMPDIR={work}", f"GOGC={os.environ.get('GOGC', GC_PERCENT)}"]
        built = {}
        try:
            with step(self._progress, f"build {names} {programs[0].version}", announce=True):
                run([*self._inside, *env, *command])
            for program in programs:
                built[program.name] = (unfinished / program.name).replace(self._cache / program.cached_name)
        except CommandFailedError as error:
            raise BinaryUnavailableError(
                f"{names} {programs[0].version}: the build failed ({error})"
            ) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return built

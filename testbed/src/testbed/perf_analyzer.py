"""Triton's load tool perf_analyzer, on libraries of a newer Debian than this machine needs to have.

The wheel's program needs glibc 2.38. Debian trixie's libraries are extracted into the cache, and the program
is started by their loader: neither a chroot nor root is needed, and files of this machine keep their paths.

`python -m testbed.perf_analyzer` installs the tool if it is missing, and runs it with the arguments.
"""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.builds import digest_of, extract_libraries
from testbed.errors import CommandFailedError, ImageUnavailableError, MachineUnfitError, TestbedError
from testbed.layout import Layout
from testbed.locks import holding
from testbed.prerequisites import debian, missing_packages
from testbed.prerequisites import install as install_packages
from testbed.processes import run
from testbed.progress import Progress, print_line, step

ROOT: Final = Path(__file__).resolve().parents[3]
SUITE: Final = "trixie"
PACKAGES: Final = ("libc6", "libgcc-s1", "libssl3t64", "libstdc++6", "zlib1g")
_GLIBC: Final = "manylinux_2_40"
_INSTALLING_SECONDS: Final = 300.0
_MICROSECONDS: Final = 1e-6


@dataclass(frozen=True)
class Load:
    """One measurement of a server. Times are in seconds.

    rate: inferences per second. latency: mean at the client. queue, compute: means by the server's
      statistics.
    """

    rate: float
    latency: float
    p50: float
    p95: float
    p99: float
    queue: float
    compute: float


def read_load(table: str) -> Load:
    """Reads the tool's CSV of a single measurement, which --verbose-csv completes."""
    (row,) = csv.DictReader(table.splitlines())

    def seconds(column: str) -> float:
        return float(row[column]) * _MICROSECONDS

    computing = ("Input", "Infer", "Output")
    return Load(
        rate=float(row["Inferences/Second"]),
        latency=seconds("Avg latency"),
        p50=seconds("p50 latency"),
        p95=seconds("p95 latency"),
        p99=seconds("p99 latency"),
        queue=seconds("Server Queue"),
        compute=sum(seconds(f"Server Compute {part}") for part in computing),
    )


@dataclass(frozen=True)
class PerfAnalyzer:
    """The installed tool: the beginning of its command line."""

    argv: Sequence[str]

    def run(self, *arguments: str, timeout_seconds: float | None = None) -> str:
        """Runs the tool and returns its output. Raises CommandFailedError if it does not reach its end."""
        return run([*self.argv, *arguments], timeout_seconds=timeout_seconds)

    def measure(
        self, model: str, address: str, protocol: str, *more: str, timeout_seconds: float | None = None
    ) -> Load:
        """Measures a model at `host:port` by `http` or `grpc`. Raises CommandFailedError."""
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "load.csv"
            arguments = ["-m", model, "-u", address, "-i", protocol, "-f", str(table), "--verbose-csv", *more]
            said = self.run(*arguments, timeout_seconds=timeout_seconds)
            if not table.exists():
                raise CommandFailedError([*self.argv, *arguments], 0, said)
            return read_load(table.read_text())


def install(layout: Layout, progress: Progress = print_line) -> PerfAnalyzer:
    """Returns the tool, installed into the cache if it is missing or the lock changed.

    Raises MachineUnfitError and ImageUnavailableError.
    """
    lock = layout.sources / "requirements" / "perf-analyzer.lock"
    digest = digest_of([SUITE, *PACKAGES, platform.machine()], [lock], layout.sources)
    folder = layout.cache / "perf-analyzer" / digest
    with holding(layout.cache / "perf-analyzer.lock", _INSTALLING_SECONDS):
        if not (folder / "package").exists():
            _require_mmdebstrap(progress)
            with step(progress, f"perf_analyzer on libraries of Debian {SUITE}", announce=True):
                _install(layout, lock, folder)
    return PerfAnalyzer(_command(folder))


def _install(layout: Layout, lock: Path, folder: Path) -> None:
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    extract_libraries(SUITE, PACKAGES, folder / "libraries")
    unfinished = folder / ".package"
    uv = [str(layout.cache / "uv" / "bin" / "uv"), "pip", "install", "--quiet", "--no-deps"]
    wheel = ["--python-platform", f"{platform.machine()}-{_GLIBC}", "--require-hashes", "-r", str(lock)]
    try:
        run([*uv, "--python", sys.executable, "--target", str(unfinished), *wheel])
    except CommandFailedError as error:
        raise ImageUnavailableError(f"perf_analyzer: {error}") from None
    unfinished.rename(folder / "package")


def _command(folder: Path) -> list[str]:
    """The loader of the extracted libraries, and the program that it starts."""
    libraries = folder / "libraries" / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    (loader,) = libraries.glob("ld-linux-*.so.*")
    program = folder / "package" / "perf_analyzer" / "bin" / "perf_analyzer"
    program.chmod(0o755)
    return [str(loader), "--library-path", str(libraries), str(program)]


def _require_mmdebstrap(progress: Progress) -> None:
    missing = missing_packages(packages={"mmdebstrap": "mmdebstrap"})
    if missing and not (debian() and os.geteuid() == 0):
        raise MachineUnfitError("perf_analyzer needs mmdebstrap, which is installed for root on Debian only")
    if missing:
        install_packages(missing, progress, "run it on a machine that has them")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tool and returns its exit status; 1 with a message if it cannot be installed."""
    try:
        tool = install(Layout.of_checkout(ROOT))
    except TestbedError as error:
        print(error, file=sys.stderr)
        return 1
    arguments = sys.argv[1:] if argv is None else list(argv)
    return subprocess.call([*tool.argv, *arguments])


if __name__ == "__main__":
    raise SystemExit(main())

"""The compared servers, each in a process and an environment of its own, all with one thread.

Environments are in .cache/peers, built from the locks in requirements/ by version and hash.
"""

import filecmp
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.runtime.commands import Say
from benchmarks.runtime.models import OUTPUTS, SIZES

ROOT: Final = Path(__file__).resolve().parents[2]
SERVERS: Final = ROOT / "benchmarks" / "runtime" / "servers"
PEERS: Final = ROOT / ".cache" / "peers"
NAMES: Final = ("ours", "bare", "kserve", "mlserver", "triton")
# The runtime of another checkout, to compare a change with the previous state of the project.
BEFORE: Final = "before"
# Servers that do not support binary tensors over HTTP receive JSON.
JSON_ONLY: Final = frozenset(["mlserver"])
_LOCKS: Final = {"kserve": "peers-kserve.lock", "mlserver": "peers-mlserver.lock", "triton": "triton.lock"}
_START: Final = 120.0
# Disables ONNX Runtime's telemetry in all servers.
ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}

Command = tuple[list[str], dict[str, str]]  # the arguments, and additional environment variables


class PeerServer:
    """A started server: its ports, and the resources that its processes used."""

    def __init__(self, process: subprocess.Popen[bytes], http: int, grpc: int) -> None:
        self.process, self.http, self.grpc = process, http, grpc

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children, including ended ones."""
        ticks = 0
        for pid in family(self.process.pid):
            with_name = Path(f"/proc/{pid}/stat").read_text()
            ticks += sum(map(int, with_name.rsplit(")", 1)[1].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Proportional set size of the process and its children."""
        total = 0
        for pid in family(self.process.pid):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024


def family(pid: int) -> list[int]:
    """A process and its descendants that have not ended."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
            found.append(pid)
    return found


_before: list[Path] = []


def use_before(checkout: Path) -> None:
    """Sets the checkout of BEFORE. Raises SystemExit if it has no environment."""
    python = checkout.resolve() / ".venv" / "bin" / "python"
    if not python.is_file():
        raise SystemExit(f"--before {checkout}: has no .venv: run `make setup` there first")
    _before[:] = [python]


def install(name: str, say: Say) -> Path:
    """Returns the environment's python; installs it if it is missing."""
    if name == BEFORE:
        return _before[0]
    if name in ("ours", "bare"):
        return Path(sys.executable)
    folder = PEERS / name
    lock = ROOT / "requirements" / _LOCKS[name]
    python, done = folder / "bin" / "python", folder / ".installed"
    wanted = lock.read_text()
    if done.exists() and done.read_text() == wanted:
        return python
    say(f"installing {name} into {folder.relative_to(ROOT)}")
    uv = str(ROOT / ".cache" / "uv" / "bin" / "uv")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    into = ["--quiet", "--python", str(python), "--require-hashes", "-r", str(lock)]
    subprocess.run([uv, "pip", "install", *into], check=True)
    done.write_text(wanted)
    return python


@contextmanager
def started(name: str, size: str, model: Path, folder: Path, say: Say) -> Iterator[PeerServer]:
    """A server of the model that is ready; terminated after the block."""
    python = install(name, say)
    http, grpc = free_port(), free_port()
    folder = folder / f"{name}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    command = _COMMANDS[name](python, size, model, folder, http, grpc)
    with running(name, command, folder, http, grpc) as server:
        yield server


@contextmanager
def running(
    name: str, command: tuple[list[str], dict[str, str]], folder: Path, http: int, grpc: int
) -> Iterator[PeerServer]:
    """A process that listens on both ports; terminated after the block."""
    argv, extra = command
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            argv,
            env=os.environ | ONE_THREAD | extra,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        stack.callback(_end, process)
        deadline = time.monotonic() + _START
        while not all(map(_answers, (http, grpc))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield PeerServer(process, http, grpc)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Returns a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ours(python: Path, size: str, model: Path, folder: Path, http: int, grpc: int) -> Command:
    argv = [str(python), "-m", "edge_runtime.cli", "serve", str(model), "--name", "m", "--threads", "1"]
    return [*argv, "--http-port", str(http), "--grpc-port", str(grpc)], {}


def _bare(python: Path, size: str, model: Path, folder: Path, http: int, grpc: int) -> Command:
    return [str(python), str(SERVERS / "bare.py"), str(model), str(http), str(grpc)], {}


def _kserve(python: Path, size: str, model: Path, folder: Path, http: int, grpc: int) -> Command:
    return [str(python), str(SERVERS / "kserve_server.py"), str(model), str(http), str(grpc)], {}


def _mlserver(python: Path, size: str, model: Path, folder: Path, http: int, grpc: int) -> Command:
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
        "use_structured_logging": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(
        json.dumps({"name": "m", "implementation": "mlserver_model.Mean"})
    )
    (folder / "mlserver_model.py").write_bytes((SERVERS / "mlserver_model.py").read_bytes())
    argv = [str(python.with_name("mlserver")), "start", str(folder)]
    return argv, {"BENCH_MODEL": str(model), "PYTHONPATH": str(folder)}


def _triton(python: Path, size: str, model: Path, folder: Path, http: int, grpc: int) -> Command:
    config = (
        f'input [{{name: "x", data_type: TYPE_FP32, dims: [-1, {SIZES[size]}]}}]\n'
        f'output [{{name: "y", data_type: TYPE_FP32, dims: [-1, {OUTPUTS}]}}]\n'
    )
    return triton_command(python, config, model, folder, http=http, grpc=grpc)


def triton_command(
    python: Path, config: str, model: Path, folder: Path, *, http: int, grpc: int, host: str = "127.0.0.1"
) -> Command:
    """A real tritonserver of one model; `config` names its inputs and outputs as config.pbtxt does."""
    packages = next((python.parent.parent / "lib").glob("python3.*")) / "site-packages"
    server = packages / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    # Triton looks for its backend's stub next to the backend.
    stub = server / "backends" / "python" / "triton_python_backend_stub"
    ours = server / "python_backend_stubs" / version / stub.name
    if not stub.exists() or not filecmp.cmp(ours, stub):  # a running program cannot be overwritten
        shutil.copy2(ours, stub)
    where = folder / "models" / "m" / "1"
    where.mkdir(parents=True, exist_ok=True)
    (where / "model.py").write_bytes((SERVERS / "triton_model.py").read_bytes())
    (where / "model.onnx").write_bytes(model.read_bytes())
    (where.parent / "config.pbtxt").write_text(
        f'backend: "python"\nmax_batch_size: 0\n{config}instance_group [{{kind: KIND_CPU, count: 1}}]\n'
    )
    argv = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={folder / 'models'}",
        f"--backend-directory={server / 'backends'}",
        f"--http-address={host}",
        f"--http-port={http}",
        f"--grpc-address={host}",
        f"--grpc-port={grpc}",
        "--allow-metrics=false",
        "--http-thread-count=1",
        f"--backend-config=python,shm-region-prefix-name=bench-{folder.name}-{os.getpid()}",
    ]
    library = Path(sys.base_prefix) / "lib"
    path = f"{packages / 'nvidia_pytriton.libs'}:{library}"
    return argv, {"LD_LIBRARY_PATH": path, "BENCH_PACKAGES": str(packages)}


_COMMANDS: Final[Mapping[str, Callable[[Path, str, Path, Path, int, int], Command]]] = {
    "ours": _ours,
    BEFORE: _ours,
    "bare": _bare,
    "kserve": _kserve,
    "mlserver": _mlserver,
    "triton": _triton,
}

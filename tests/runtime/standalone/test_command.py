"""`edge-runtime serve` and `edge-runtime profile` as commands: their output, and how they end."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from onnx import helper

from edge_runtime.errors import BadRequest
from edge_runtime.example_requests import example
from edge_runtime.standalone_server import name_of
from edge_runtime.tensors import Tensor
from messages import mentions
from misbehaving import crashing, crashing_on_ones, endless, greedy
from networks import info, model_of
from waiting import until

COMMAND = [sys.executable, "-m", "edge_runtime.cli"]
PROGRESS = re.compile(r"profile: \d+% measured")  # on a machine that takes more than two seconds


@pytest.fixture
def model(tmp_path: Path, chain_model: bytes) -> Path:
    path = tmp_path / "three exits.onnx"
    path.write_bytes(chain_model)
    return path


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_line_that_it_prints_is_a_call_that_works(model: Path) -> None:
    argv = [*COMMAND, "serve", str(model), "--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said, call = process.stdout.readline(), process.stdout.readline()
        outputs = [f"{name} FP32[-1, 10]" for name in ("exit1_logits", "exit2_logits", "logits")]
        assert mentions("three-exits", "image FP32[-1, 1, 16, 16]", *outputs, "127.0.0.1:").search(said)
        found = subprocess.run(["bash", "-c", call], capture_output=True, text=True, timeout=30, check=True)
        answer = json.loads(found.stdout)
        assert [o["name"] for o in answer["outputs"]] == ["exit1_logits", "exit2_logits", "logits"]
        assert answer["parameters"]["exit"] == "final"
        assert answer["parameters"]["confidence"] == pytest.approx(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_what_it_cannot_serve_is_one_sentence_and_no_traceback(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.onnx"
    text.write_text("no model")
    empty = tmp_path / "empty"
    empty.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            (tmp_path / "none.onnx",): ("CannotLoad: {}", "exist", " .onnx"),
            (empty,): ("CannotLoad: {}:", "has no models", "NAME.onnx"),
            (Path("/proc/self"),): ("CannotLoad: {}:", "has no models"),
            (tmp_path, "--name", "m"): ("BadRequest: --name:", "folder"),
            (text,): ("CannotLoad: {}:", "onnxruntime"),
            (model, "--http-port", port): (f"CannotListen: 127.0.0.1:{port}:", "HTTP"),
            (model, "--http-port", 0, "--grpc-port", port): (f"CannotListen: 127.0.0.1:{port}:", "gRPC"),
            (model, "--name", "a/b"): ('BadRequest: --name: "a/b"', "letters"),
        }
        for arguments, parts in cases.items():
            ended = _run("serve", *arguments)
            assert ended.returncode == 1
            lines = [line for line in ended.stderr.splitlines() if not line.startswith(("E0000", "I0000"))]
            assert mentions(*(part.format(arguments[0]) for part in parts)).search(lines[-1])
            assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--http-port", "70000"), ("--grpc-port", "65536"), ("--grpc-port", "-5"), ("--health-port", "http")],
)
def test_a_port_that_is_invalid_is_refused_and_not_bound_to_another(
    model: Path, flag: str, value: str
) -> None:
    ended = _run("serve", model, f"{flag}={value}")
    assert ended.returncode == 2
    assert mentions(f'argument {flag}: "{value}"', 1, 65535).search(ended.stderr.splitlines()[-1])


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_that_is_invalid_is_refused(model: Path, seconds: str) -> None:
    ended = _run("profile", model, f"--seconds={seconds}")
    assert ended.returncode == 2
    assert "argument --seconds: " in ended.stderr.splitlines()[-1]
    assert ended.stderr.splitlines()[-1].endswith(" 0.6")


def test_a_store_that_cannot_write_to_its_folder_is_reported_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = _run("store", "--root", tmp_path / "file", "--port", 0)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    reason = os.strerror(errno.ENOTDIR)
    assert mentions("CannotListen:", f"--root {tmp_path}/file:", reason, "writable").search(line)


def test_onnxruntime_sends_no_telemetry(model: Path, tmp_path: Path) -> None:
    """By default onnxruntime reports the loaded models to its vendor, through a file in the home folder."""
    reported = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    kept = {name: value for name, value in os.environ.items() if name not in reported}
    home = tmp_path / "home"
    home.mkdir()
    argv = [*COMMAND, "profile", str(model), "--seconds", "0.02"]
    found = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run(argv, env=kept | found, capture_output=True, timeout=60, check=True)
    assert list(home.iterdir()) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A started process handles SIGINT; background jobs of a shell, and their children, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_reader_who_has_enough_and_ctrl_c_leave_no_traceback(model: Path) -> None:
    argv = [*COMMAND, "profile", str(model), "--seconds", "0.02"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(60) == 141
        lines = process.stderr.read().decode().splitlines()
        assert not [line for line in lines if not PROGRESS.fullmatch(line)]
    argv[-1] = "4"
    ours, theirs = os.openpty()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        said = os.read(ours, 100)
        assert said.startswith(b"\r[....")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    os.close(theirs)
    with suppress(OSError):  # EIO: the writer has ended
        while part := os.read(ours, 1000):
            said += part
    os.close(ours)
    assert b"Traceback" not in said


@pytest.mark.parametrize("command", ["serve", "profile"])
def test_inputs_that_crash_the_model_crash_its_trial_alone(command: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(crashing_on_ones())
    ended = _run(command, path, "--input", "x=1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("TrialCrashed: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_command_whose_main_thread_is_in_a_run(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(endless())
    script = (
        "import pathlib, sys\n"
        "from edge_runtime.shutdown import end_when_interrupted\n"
        "from edge_runtime.inference.sessions import Session\n"
        "from edge_runtime.tensors import zeros\n"
        "end_when_interrupted(130)\n"
        "session = Session(pathlib.Path(sys.argv[1]))\n"
        "print('now', flush=True)\n"
        "session.run(zeros(session.inputs))\n"
    )
    argv = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        before = _processor_seconds(process)
        # The remaining work before the run takes far less.
        until(lambda: _processor_seconds(process) > before + 0.1, "the command is in a run")
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 130
        finally:
            process.kill()


def _processor_seconds(process: subprocess.Popen[str]) -> float:
    """Processor time of its main thread."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


def test_a_profile_is_a_table_and_one_json_object(model: Path) -> None:
    ended = _run("profile", model, "--seconds", "0.02")
    assert ended.returncode == 0
    assert not [line for line in ended.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    *table, last = ended.stdout.splitlines()
    profile = json.loads(last)
    assert [(e["exit"], e["output"]) for e in profile["exits"]] == [
        ("exit1", "exit1_logits"),
        ("exit2", "exit2_logits"),
        ("final", "logits"),
    ]
    assert profile["segments"][0]["from"] == "image"
    assert profile["segments"][0]["bytes"] == 16 * 16 * 4
    assert all(s["meanSeconds"] > 0 for s in (*profile["segments"], *profile["exits"]))
    assert table[0].split()[:2] == ["from", "to"]
    assert len(table) == 2 + len(profile["segments"]) + len(profile["exits"]) + len(profile["inputs"])
    assert len(_run("profile", model, "--seconds", "0.02", "--format", "json").stdout.splitlines()) == 1


def test_a_model_that_cannot_be_cut_is_measured_as_a_whole(tmp_path: Path) -> None:
    path = _saved_sum(tmp_path / "add.onnx", "width")
    profile = json.loads(_run("profile", path, "--seconds", "0.02", "--format", "json").stdout)
    assert profile["segments"] == []
    assert [(e["exit"], e["output"]) for e in profile["exits"]] == [("final", "y")]
    assert mentions("whole", "input a", "dimension 1 (width)").search(profile["note"])


def test_a_model_with_two_inputs_is_cut_first_at_both(tmp_path: Path) -> None:
    path = _saved_sum(tmp_path / "add.onnx", 3)
    profile = json.loads(_run("profile", path, "--seconds", "0.02", "--format", "json").stdout)
    assert [(s["from"], s["to"], s["bytes"]) for s in profile["segments"]] == [("a+b", "y", 24)]
    assert [(e["exit"], e["output"]) for e in profile["exits"]] == [("final", "y")]


def _saved_sum(path: Path, width: int | str) -> Path:
    a, b, y = (info(n, "N", width) for n in "aby")
    path.write_bytes(model_of([helper.make_node("Add", ["a", "b"], ["y"])], [a, b], [y]))
    return path


def test_the_name_is_the_files_made_fit_for_a_path() -> None:
    assert name_of(Path("a b(1).onnx"), None) == "a-b-1-"
    assert name_of(Path("x.onnx"), "resnet-50_v1.2") == "resnet-50_v1.2"
    for bad in ("", "a/b", ".hidden", "x" * 101):
        with pytest.raises(BadRequest, match=mentions(f'--name: "{bad}"')):
            name_of(Path("x.onnx"), bad)


def test_the_example_is_short_where_the_inputs_are() -> None:
    inputs = [Tensor("a", "INT64", (-1, 2)), Tensor("w", "BYTES", (-1,))]
    line = example("m", inputs, "127.0.0.1:8080")
    document = json.loads(line.split("-d '")[1].rstrip("'"))
    assert document["inputs"] == [
        {"name": "a", "shape": [1, 2], "datatype": "INT64", "data": [0, 0]},
        {"name": "w", "shape": [1], "datatype": "BYTES", "data": [""]},
    ]
    assert len(example("m", [Tensor("a", "FP32", (-1, 3, 224, 224))], "127.0.0.1:8080")) < 250


def test_zeros_of_every_kind_are_what_the_example_sends() -> None:
    kinds = {"BOOL": "False", "FP16": "0.0", "UINT8": "0", "BYTES": '""'}
    for datatype, text in kinds.items():
        line = example("m", [Tensor("a", datatype, (100,))], "h:1")
        assert f'"data": [{text}] * 100' in line


@pytest.mark.parametrize("command", [["serve"], ["profile", "--seconds", "0.02"]])
@pytest.mark.parametrize(
    ("data", "reason"), [(crashing(), "TrialCrashed"), (endless(), "TrialHung"), (greedy(), "TrialOverran")]
)
def test_a_model_that_would_end_the_process_is_a_sentence_and_an_exit_code(
    tmp_path: Path, command: list[str], data: bytes, reason: str
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    argv = [*COMMAND, *command, str(path), "--trial-seconds", "5"]
    argv += ["--http-port", "0", "--grpc-port", "0"] if command == ["serve"] else []
    found = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"{reason}: {path}: ")
    assert found.stdout == ""


def test_sigterm_while_a_model_is_tried_ends_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(endless())
    argv = [*COMMAND, "serve", str(path), "--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task")
        pause = threading.Event()
        while not any((task / "children").read_text() for task in children.iterdir()):
            pause.wait(0.02)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")

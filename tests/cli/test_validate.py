"""`ei validate` reports the API server's rejections without a server."""

from pathlib import Path

import pytest
import yaml

from edge_cli.app import main

CASES = yaml.safe_load(
    (Path(__file__).parents[1] / "api" / "bad_manifests.yaml").read_text(encoding="utf-8")
)["good"]
EXAMPLES = Path(__file__).parents[2] / "examples"


def validate(capsys: pytest.CaptureFixture[str], *files: Path) -> tuple[int, list[str]]:
    status = main(["validate", *map(str, files)])
    return status, capsys.readouterr().out.splitlines()


def test_the_examples_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(EXAMPLES.glob("*/*.yaml"))
    assert files
    assert validate(capsys, *files) == (0, [])


def test_each_problem_is_a_line_with_file_field_and_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = CASES["InferenceService"]
    bad = service | {"spec": service["spec"] | {"mode": "Best", "slo": {"latency": "fast"}}}
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump(bad))
    status, lines = validate(capsys, file)
    assert status == 1
    assert sorted(line.split(": ")[1] for line in lines) == ["spec.mode", "spec.slo.latency"]
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert {'"Best"', '"fast"'} <= {word.strip(":") for line in lines for word in line.split()}


def test_documents_are_counted_and_objects_of_other_groups_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    mistyped = CASES["DevicePool"] | {"apiVersion": "edge-inteligence.io/v1alpha1"}
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all([other, CASES["InferenceService"], mistyped]))
    status, lines = validate(capsys, file)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"{file} (document 3): apiVersion: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [1", "line 1, column 6"), ("", "no objects"), ("- 1", "mapping"), ("kind: Pony", '"Pony"')],
)
def test_what_is_not_a_manifest_is_reported_with_the_file(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    status, lines = validate(capsys, file)
    assert status == 1
    assert lines[0].startswith(f"{file}: ")
    assert said in lines[0]


def test_files_that_cannot_be_read_are_named_and_the_others_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = tmp_path / "model.onnx"
    binary.write_bytes(b"\xff\xfe\x00")
    status, lines = validate(capsys, tmp_path / "missing.yaml", binary)
    assert status == 1
    assert [line.split(":")[0] for line in lines] == [str(tmp_path / "missing.yaml"), str(binary)]

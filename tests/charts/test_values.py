"""The typed values, and what is generated from them."""

import json
from typing import Any

import pytest
import yaml

from edge_chart import generate
from edge_chart.generate import CHART, files, schema
from edge_chart.values import ChartValues


@pytest.mark.parametrize("name", ["values.yaml", "values.schema.json", "README.md"])
def test_generated_files_are_current(name: str) -> None:
    assert (CHART / name).read_text() == files()[CHART / name], "run `make generate`"


def test_a_file_that_differs_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "files", lambda: {CHART / "values.yaml": "tls: {}\n"})
    assert generate.main(["--check"]) == 1
    assert "values.yaml" in capsys.readouterr().err


def test_the_values_file_has_the_defaults_of_the_typed_values() -> None:
    given = ChartValues.model_validate(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert given == ChartValues()


def _objects(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        found = [node] if node.get("type") == "object" and "properties" in node else []
        return found + [each for value in node.values() for each in _objects(value)]
    return [each for value in node for each in _objects(value)] if isinstance(node, list) else []


def test_every_value_is_described_and_others_are_refused() -> None:
    found = schema()
    objects = _objects(found)
    assert len(objects) > 15
    for node in objects:
        for name, value in node["properties"].items():
            referred = found["$defs"].get(value.get("$ref", "").rsplit("/", 1)[-1], {})
            assert value.get("description") or referred.get("description"), name
    # Values of parent charts are in "global", too.
    open_ended = [node for node in objects if node["additionalProperties"] is not False]
    assert [name for node in open_ended for name in node["properties"]] == ["imageRegistry"]


def test_the_schema_says_nothing_that_helm_cannot_mean() -> None:
    text = json.dumps(schema())
    assert '"null"' not in text
    assert '"default"' not in text

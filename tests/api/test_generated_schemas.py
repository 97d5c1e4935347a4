import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import AfterValidator, Field

from edge_api import KINDS
from edge_api.generate import files, main
from edge_api.objects import Part
from edge_api.schemas import NotStructuralError, definition, structural
from messages import mentions

ROOT = Path(__file__).parents[2]


def schema(kind: str) -> dict[str, Any]:
    made: dict[str, Any] = definition(KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return made


def parts(part: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield where, part
    for name, value in part.get("properties", {}).items():
        yield from parts(value, f"{where}.{name}")
    for name in ("items", "additionalProperties"):
        if name in part:
            yield from parts(part[name], f"{where}[]")


@pytest.mark.parametrize("folder", ["crds", "charts/edge-intelligence/files/crds"])
def test_the_committed_definitions_are_as_generated(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(ROOT / folder)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_an_apostrophe_ends_no_text_within_a_rule(kind: str) -> None:
    rules = [r for _, part in parts(schema(kind), kind) for r in part.get("x-kubernetes-validations", [])]
    texts = [rule[name] for rule in rules for name in ("rule", "messageExpression") if name in rule]
    assert [text for text in texts if text.count("'") % 2] == []


def test_check_names_what_differs_what_is_missing_and_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "edge-intelligence.io_placements.yaml").write_text("edited by hand")
    (tmp_path / "edge-intelligence.io_devicepools.yaml").unlink()
    (tmp_path / "edge-intelligence.io_renters.yaml").write_text("of another version")
    assert main(["--check", str(tmp_path)]) == 1
    named = [Path(line.split(":")[0]).name for line in capsys.readouterr().err.splitlines()]
    assert sorted(named) == [
        f"edge-intelligence.io_{kind}.yaml" for kind in ("devicepools", "placements", "renters")
    ]


def test_generating_twice_gives_the_same_text_with_a_header_that_says_how() -> None:
    assert files() == files()
    assert all("make generate" in text.splitlines()[0] for text in files().values())


@pytest.mark.parametrize("kind", KINDS)
def test_no_default_holds_a_null_which_the_api_server_would_refuse(kind: str) -> None:
    for where, part in parts(schema(kind), kind):
        assert "null" not in json.dumps(part.get("default", "")), where


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_description(kind: str) -> None:
    for where, part in parts({"properties": {"spec": schema(kind)["properties"]["spec"]}}, kind):
        if where != kind and not where.endswith("[]"):
            assert part.get("description", "").endswith("."), f"{where} has no description"


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_with_a_rule_has_a_greatest_length_so_that_its_cost_is_bounded(kind: str) -> None:
    for where, part in parts(schema(kind), kind):
        if part.get("type") == "string" and "x-kubernetes-validations" in part:
            assert part["maxLength"] <= 2048, where


@pytest.mark.parametrize("kind", KINDS)
def test_every_list_and_map_around_a_rule_has_a_greatest_size_so_that_its_cost_is_bounded(kind: str) -> None:
    for where, part in parts(schema(kind), kind):
        for inner, most in (("items", "maxItems"), ("additionalProperties", "maxProperties")):
            if "x-kubernetes-validations" in json.dumps(part.get(inner, {})):
                assert part[most] <= 256, where


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("InferenceService spec.mode", "Auto"),
        ("InferenceService spec.slo.percentile", 95),
        (
            "DevicePool spec.links",
            {
                "probeInterval": "2s",
                "probeBudget": "16Mi",
                "local": {"bandwidth": "1G", "roundTrip": "1ms"},
            },
        ),
        ("DevicePool spec.links.probeInterval", "2s"),
    ],
)
def test_defaults_stand_in_the_schema(path: str, default: object) -> None:
    kind, fields = path.split()
    part = schema(kind)
    for name in fields.split("."):
        part = part["properties"][name]
    assert part["default"] == default


@pytest.mark.parametrize(
    "path",
    [
        "InferenceService spec.slo.latency",
        "InferenceService spec.resultCache.maxBytes",
        "InferenceService status.slo.attainment",
        "DevicePool spec.links.local.bandwidth",
    ],
)
def test_explain_shows_durations_quantities_and_shares_as_strings(path: str) -> None:
    kind, fields = path.split()
    part = schema(kind)
    for name in fields.split("."):
        part = part["properties"][name]
    assert part["type"] == "string"


def test_lists_with_a_key_are_merged_by_it_and_all_others_are_replaced_whole() -> None:
    lists = {
        where.replace("[]", ""): part
        for kind in KINDS
        for where, part in parts(schema(kind), kind)
        if part.get("type") == "array"
    }
    keyed = {
        where: part["x-kubernetes-list-map-keys"]
        for where, part in lists.items()
        if part["x-kubernetes-list-type"] == "map"
    }
    assert keyed == {
        "InferenceService.spec.model.exits": ["name"],
        "InferenceService.spec.model.inputs": ["name"],
        "InferenceService.spec.model.state": ["input"],
        "InferenceService.status.conditions": ["type"],
        "InferenceService.status.model.inputs": ["name"],
        "InferenceService.status.slo.windows": ["window"],
        "InferenceService.status.entries": ["node"],
        "DevicePool.spec.tritonServers": ["name"],
        "DevicePool.status.conditions": ["type"],
        "DevicePool.status.nodes": ["name"],
        "DevicePool.status.tritonServers": ["address"],
        "DevicePool.status.formerTritonServers": ["address"],
        "ModelProfile.spec.model.exits": ["name"],
        "ModelProfile.spec.model.shapes.inputs": ["name"],
        "ModelProfile.spec.deviceClasses": ["name"],
        "ModelProfile.spec.deviceClasses.exits": ["exit"],
        "ModelProfile.spec.deviceClasses.shapes.inputs": ["name"],
        "Placement.spec.model.state": ["input"],
        "Placement.spec.localLinks": ["peer"],
        "Placement.spec.shapes.planned": ["name"],
        "Placement.spec.shapes.measured.inputs": ["name"],
        "Placement.status.localLinks": ["peer"],
        "Placement.status.shapes.inputs": ["name"],
        "Placement.status.firstRequests.profile.exits": ["output"],
        "Placement.status.firstRequests.profile.shapes.inputs": ["name"],
        "Tenant.spec.pools": ["name"],
        "Tenant.status.conditions": ["type"],
        "Tenant.status.pools": ["name"],
        "Tenant.status.pools.resources": ["kind"],
    }
    assert all(lists[where]["items"]["required"].count(*keys) for where, keys in keyed.items())
    others = {part["x-kubernetes-list-type"] for where, part in lists.items() if where not in keyed}
    assert others == {"atomic"}


def test_kubectl_shows_the_columns_that_operators_look_for() -> None:
    version = definition(KINDS["InferenceService"])["spec"]["versions"][0]
    names = [column["name"].upper() for column in version["additionalPrinterColumns"]]
    assert names == [
        "URL",
        "READY",
        "ENTRIES",
        "SLO",
        "BUDGET",
        "LATENCY",
        "P95",
        "CUT",
        "EXIT",
        "REASON",
        "AGE",
    ]


@pytest.mark.parametrize(
    ("column", "path"),
    [
        ("Entries", ".status.readyEntries"),
        ("SLO", ".status.slo.summary"),
        ("Budget", ".status.slo.errorBudgetRemaining"),
    ],
)
def test_the_columns_of_entry_nodes_and_slo_show_texts_of_the_status(column: str, path: str) -> None:
    version = definition(KINDS["InferenceService"])["spec"]["versions"][0]
    shown = next(each for each in version["additionalPrinterColumns"] if each["name"] == column)
    assert (shown["jsonPath"], shown["type"]) == (path, "string")
    part = schema("InferenceService")
    for name in path.strip(".").split("."):
        part = part["properties"][name]
    assert part["type"] == "string"


def test_kubectl_shows_how_tenants_share() -> None:
    version = definition(KINDS["Tenant"])["spec"]["versions"][0]
    names = [column["name"].upper() for column in version["additionalPrinterColumns"]]
    assert names == ["WEIGHT", "SHARE", "BORROWED", "STEPPED DOWN", "REFUSED", "REASON", "IN USE", "AGE"]


@pytest.mark.parametrize(
    ("kind", "scope", "short", "status"),
    [
        ("InferenceService", "Namespaced", ["eis"], True),
        ("DevicePool", "Cluster", ["dp"], True),
        ("ModelProfile", "Namespaced", ["mp"], False),
        ("Placement", "Namespaced", None, True),
        ("Tenant", "Cluster", ["tn"], True),
    ],
)
def test_each_kind_is_served_as_agreed(kind: str, scope: str, short: list[str] | None, status: bool) -> None:
    spec = definition(KINDS[kind])["spec"]
    assert spec["group"] == "edge-intelligence.io"
    assert spec["scope"] == scope
    assert spec["names"].get("shortNames") == short
    assert ("subresources" in spec["versions"][0]) is status


def test_what_a_structural_schema_cannot_hold_is_named() -> None:
    class Ambiguous(Part):
        size: int | str

    with pytest.raises(NotStructuralError, match=mentions("Ambiguous.size", "union", 2)):
        structural(Ambiguous.model_json_schema(), {}, "Ambiguous")


def test_a_bound_that_means_nothing_for_its_type_is_named() -> None:
    labels = Annotated[dict[str, str], AfterValidator(lambda found: found), Field(max_length=16)]

    class Selecting(Part):
        chosen: labels

    with pytest.raises(NotStructuralError, match=r"Selecting\.chosen: maxLength .* object"):
        structural(Selecting.model_json_schema(), {}, "Selecting")


def test_definitions_hold_no_references_and_no_titles() -> None:
    for text in files().values():
        assert "$ref" not in text
        assert "\ntitle:" not in text
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"


def spec_fields(kind: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each field below spec: its path, its schema, whether it is required."""

    def below(part: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
        for name, field in part.get("properties", {}).items():
            yield f"{where}.{name}", field, name in part.get("required", [])
            yield from below(field.get("items", field), f"{where}.{name}")

    yield from below(schema(kind)["properties"]["spec"], f"{kind}.spec")


@pytest.mark.parametrize("kind", ["InferenceService", "DevicePool"])
def test_every_description_says_what_is_required_and_what_is_the_default(kind: str) -> None:
    lacking = []
    for where, field, required in spec_fields(kind):
        said = field["description"]
        assert said.endswith("."), where
        default = field.get("default")
        if required:
            stated = "Required." in said
        elif isinstance(default, dict):  # its own fields state their defaults
            stated = True
        else:
            shown = "" if default is None else f"{default:g}" if isinstance(default, float) else f"{default}"
            stated = f"Default: {shown}" in said or "Required in mode" in said
        lacking += [] if stated else [f"{where}: {said}"]
    assert lacking == []

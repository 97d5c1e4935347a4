"""Every error in a manifest is reported with the names and values of the YAML."""

import copy
import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_api import KINDS, DevicePool, InferenceService
from edge_api.schemas import definition
from edge_api.validation_messages import problems
from messages import mentions

GOOD = yaml.safe_load(Path(__file__).with_name("bad_manifests.yaml").read_text(encoding="utf-8"))["good"]
PYTHON = re.compile(
    r"\b(None|True|False|dict|dictionary|tuple|str|string|int|instance|Input|should|valid|datetime|pydantic)\b"
)
WRITTEN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(10**300, 10**420),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["100ms", "1Gi", "1e999999", "a" * 4000, "store://a"]),
        st.dates(),
        st.datetimes(),
        st.binary(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.booleans(), st.integers()), inner, max_size=3),
    ),
    max_leaves=5,
)


def places(schema: dict[str, Any], at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    for name, part in schema.get("properties", {}).items():
        yield from places(part, (*at, name))
    if "items" in schema:
        yield from places(schema["items"], (*at, 0))
    if "additionalProperties" in schema:
        yield from places(schema["additionalProperties"], (*at, "a"))


PLACES = [
    (kind, place)
    for kind in GOOD
    for place in places(definition(KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    if place
]


def put(body: dict[str, Any], place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """`body` with `value` at a place, and new mappings on the way to it."""
    whole: Any = copy.deepcopy(body)
    at: Any = whole
    for step, following in zip(place, (*place[1:], None), strict=True):
        fresh: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(at, list):
            if not at or following is None:
                at[:] = [fresh]
            at = at[0]
        else:
            if following is None or not isinstance(at.get(step), dict | list):
                at[step] = fresh
            at = at[step]
    return dict(whole)


@given(st.sampled_from(PLACES), WRITTEN)
def test_whatever_is_written_wherever_is_good_or_told_in_words_of_yaml(
    where: tuple[str, tuple[str | int, ...]], value: object
) -> None:
    kind, place = where
    for sentence in problems(put(GOOD[kind], place, value)):
        told = re.sub(r'"(?:[^"\\]|\\.)*"|“[^”]*”|\{.*?\}', "", sentence)
        assert not PYTHON.search(told.replace("Required value", "").replace("Unsupported value", "")), (
            sentence
        )
        assert len(sentence) < 700
        assert "\n" not in sentence


@given(WRITTEN)
def test_random_manifests_are_refused_with_the_missing_fields(document: object) -> None:
    assert problems(document)


@pytest.mark.parametrize(
    ("place", "value", "parts"),
    [
        (("spec", "slo", "percentile"), "95", ('"95"', "number", "quotes")),
        (("spec", "slo", "percentile"), True, ("true", "number")),
        (("spec", "slo", "minAccuracy"), float("nan"), (".nan", "finite")),
        (("spec", "slo"), [], ("[]", "mapping")),
        (("spec", "model", "exits"), {"a": "y"}, ('{a: "y"}', "list", "hyphen")),
        (("spec", "entryNodes", "nodeSelector"), {"gpu": True}, ("true", "text", "quotes")),
        (("spec", "entryNodes", "nodeSelector"), {True: "x"}, ("key true", "text", "quotes")),
        (("spec", "entryNodes", "nodeSelector"), {"a b": "c"}, ('"a b"', "key", "label")),
        (("spec", "entryNodes", "nodeSelector"), {"a": datetime.date(2024, 1, 1)}, ("2024-01-01", "text")),
        (("spec", "mode"), False, ("Unsupported value: false",)),
        (("spec", "resultCache"), {"maxBytes": 0.5}, ("0.5", "quantity", "whole")),
        (("metadata", "name"), 'x" or "y', ('"x\\" or \\"y"', "name")),
    ],
)
def test_a_value_is_shown_as_yaml_writes_it(
    place: tuple[str, ...], value: object, parts: tuple[str, ...]
) -> None:
    (found,) = problems(put(GOOD["InferenceService"], place, value))
    assert found.startswith(place[0] + "." + place[1])
    assert mentions(*parts).search(found)


@pytest.mark.parametrize("place", [("spec", "slo", "percentile"), ("spec", "deadline"), ("status",)])
def test_a_field_that_is_null_has_its_default_as_at_the_api_server(place: tuple[str, ...]) -> None:
    body = put(GOOD["InferenceService"], place, None)
    assert problems(body) == []
    assert InferenceService.model_validate(body) == InferenceService.model_validate(GOOD["InferenceService"])


def test_nulls_in_metadata_are_read_as_the_api_server_reads_them() -> None:
    body = put(GOOD["DevicePool"], ("metadata",), {"name": "p", "labels": None, "annotations": {"a": None}})
    pool = DevicePool.model_validate(body)
    assert (pool.metadata.labels, pool.metadata.annotations) == ({}, {"a": ""})


@pytest.mark.parametrize("place", [("spec",), ("spec", "slo"), ("spec", "slo", "latency"), ("metadata",)])
def test_a_required_field_that_is_null_is_missing(place: tuple[str, ...]) -> None:
    assert problems(put(GOOD["InferenceService"], place, None)) == [f"{'.'.join(place)}: Required value"]


@pytest.mark.parametrize("name", ["factory", "factory.west", "1", "a" * 253, "a.b-c.1"])
def test_a_pool_may_be_called_whatever_kubernetes_lets_it_be_called(name: str) -> None:
    assert problems(put(GOOD["DevicePool"], ("metadata", "name"), name)) == []
    assert problems(put(GOOD["InferenceService"], ("spec", "devicePool"), name)) == []


@pytest.mark.parametrize("name", ["", "A", "a_b", ".a", "a.", "a..b", "-a", "a-", "a" * 254, "ü"])
def test_no_pool_is_called_what_kubernetes_refuses(name: str) -> None:
    assert problems(put(GOOD["DevicePool"], ("metadata", "name"), name))
    assert problems(put(GOOD["InferenceService"], ("spec", "devicePool"), name))


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("triton:8000", True),
        ("triton.svc.:8000", True),
        ("10.0.0.1:1", True),
        ("[fd00::1]:65535", True),
        ("[::ffff:10.0.0.1]:8000", True),
        ("[fd00::1%eth0]:8000", False),
        ("[::1::2]:8000", False),
        ("[10.0.0.1]:8000", False),
        ("triton:0", False),
        ("triton:65536", False),
        ("a..b:1", False),
    ],
)
def test_an_address_is_a_host_or_an_ip_literal_and_a_port(address: str, good: bool) -> None:
    server = {"name": "c", "httpAddress": address, "deviceClass": "c", "nodeSelector": {"a": "b"}}
    assert (problems(put(GOOD["DevicePool"], ("spec", "tritonServers"), [server])) == []) is good


def test_a_field_is_known_by_its_name_in_yaml_alone() -> None:
    body = put(GOOD["InferenceService"], ("spec", "slo", "min_accuracy"), 0.9)
    (problem,) = problems(body)
    assert mentions('"spec.slo.min_accuracy"', "minAccuracy").search(problem)

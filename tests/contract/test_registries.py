"""What manifests offer is what the registries hold, and no module but a registry names its entries."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest

from edge_api.devicepools import ExecutionProvider
from edge_api.inferenceservices import Optimize
from edge_api.model_sources import SCHEMES, Metric
from edge_operator.nodes.workloads import PROVIDERS_VARIABLE
from edge_planning import OBJECTIVES
from edge_runtime.inference.providers import PROVIDERS, VARIABLE
from edge_runtime.store.accuracy_metrics import METRICS
from edge_runtime.store.schemes import SOURCES

ROOT = Path(__file__).parents[2]


def naming(word: str, folders: Iterable[str]) -> set[str]:
    """The modules in which a word is a text of its own."""
    return {
        path.name
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if f'"{word}"' in path.read_text()
    }


def test_manifests_offer_the_objectives_that_have_route_tables() -> None:
    assert set(get_args(Optimize)) == {name for name, each in OBJECTIVES.items() if each.worth is not None}


def test_manifests_take_the_schemes_of_the_model_stores_sources() -> None:
    assert set(SCHEMES) == set(SOURCES)


def test_manifests_take_the_metrics_of_the_model_store_whose_default_is_the_first() -> None:
    assert get_args(Metric) == tuple(each.name for each in METRICS)


def test_manifests_take_the_execution_providers_of_the_runtime_by_its_variable() -> None:
    assert set(get_args(ExecutionProvider)) == {each.label for each in PROVIDERS}
    assert PROVIDERS_VARIABLE == VARIABLE


# Accuracy is the default of the API, Latency a class of the planner as well.
@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"Accuracy", "Latency"}))
def test_only_the_registry_and_the_api_name_an_objective(name: str) -> None:
    found = naming(name, ["api/src", "planning/src/edge_planning", "operator/src", "runtime/src"])
    assert found <= {"objectives.py", "inferenceservices.py"}


@pytest.mark.parametrize("name", [*(each.name for each in PROVIDERS), *(each.name for each in METRICS)])
def test_only_the_registry_names_a_provider_or_a_metric(name: str) -> None:
    assert len(naming(name, ["runtime/src"])) == 1

"""What manifests offer is what the registries hold: objectives, model sources."""

from typing import get_args

from edge_api.inferenceservices import SCHEMES, Optimize
from edge_planning import OBJECTIVES
from edge_runtime.store.schemes import SOURCES


def test_manifests_offer_the_objectives_that_have_route_tables() -> None:
    assert set(get_args(Optimize)) == {name for name, each in OBJECTIVES.items() if each.worth is not None}


def test_manifests_take_the_schemes_of_the_model_stores_sources() -> None:
    assert set(SCHEMES) == set(SOURCES)

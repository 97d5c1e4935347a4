"""Files of unusual forms and results as services: store, profile, plan, Placement, every route."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.models import servers
from benchmarks.models.catalogue import ModelFile
from benchmarks.models.checking import Site, run_steps
from benchmarks.models.made.files import MADE, written

_FORMS = [
    "nodes-out-of-order",
    "outputs-without-shape",
    "constant-output",
    "no-boxes",
    "decoder-step",
    "texts",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("models")
    with ExitStack() as stack:
        store = stack.enter_context(servers.store(folder))
        cloud = stack.enter_context(servers.placed(store.url, folder, "cloud", folder / "cloud.json"))
        entry = stack.enter_context(servers.placed(store.url, folder, servers.NODE, folder / "entry.json"))
        yield Site(store, entry, cloud, folder)


@pytest.mark.parametrize("name", _FORMS)
def test_a_service_gives_what_onnxruntime_gives_on_every_route_and_at_every_cut(
    name: str, site: Site, tmp_path: Path
) -> None:
    made = next(each for each in MADE if each.name == name)
    file = ModelFile(name, made.kind, "made", written(made, tmp_path), made.inputs, "")
    found = run_steps(file, site, ("profiled", "sliced", "planned", "placed"))
    assert (found.wrong, found.unequal) == ({}, [])
    assert "final@local" in found.routes

"""The runtime imports only the decisions of the planner."""

import subprocess
import sys

import pytest

import edge_planning

PROGRAM = """
import sys, importlib
importlib.import_module(sys.argv[1])
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("edge_planning", "numpy")))
"""


@pytest.mark.parametrize(
    "module",
    [
        "edge_planning.links.estimates",
        "edge_planning.routing.batches",
        "edge_planning.routing.breakers",
        "edge_planning.routing.deadlines",
        "edge_planning.routing.routes",
    ],
)
def test_the_decisions_load_neither_numpy_nor_the_planner(module: str) -> None:
    command = [sys.executable, "-c", PROGRAM, module]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert module in loaded
    allowed = ("edge_planning.links", "edge_planning.routing")
    assert [name for name in loaded if name != "edge_planning" and not name.startswith(allowed)] == []


def test_every_name_of_the_package_is_found_when_it_is_used() -> None:
    assert [name for name in edge_planning.__all__ if getattr(edge_planning, name, None) is None] == []
    assert {*edge_planning.__all__} <= {*dir(edge_planning)}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="unheard"):
        _ = edge_planning.unheard  # type: ignore[attr-defined]

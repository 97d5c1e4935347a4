"""The operator's test world, from the folder of its tests."""

import functools
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any


@functools.cache
def module() -> ModuleType:
    """The module with `World`."""
    path = Path(__file__).parents[1] / "operator" / "conftest.py"
    spec = importlib.util.spec_from_file_location("operator_worlds_of_console", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def new_world() -> Any:
    """A World."""
    return module().World()

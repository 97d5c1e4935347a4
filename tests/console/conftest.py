"""A factory that the operator has planned, and consoles over it."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.console.served import MadeUpRights, Served, served
from edge_operator.explaining.overlays import Mirrored
from edge_operator.observed.mirror import Mirror
from factory import bodies, factory

OF_DEFAULT, OF_LAB = "token-of-default", "token-of-lab"


@pytest.fixture(scope="session")
def planned() -> Any:
    """The factory as the operator left it. Tests do not change it."""
    return factory()


@pytest.fixture
def reads(planned: Any) -> Mirrored:
    """A mirror of the factory."""
    mirror = Mirror()
    for body in bodies(planned):
        mirror.put(body["kind"], body)
    return Mirrored(mirror)


@pytest.fixture
def rights() -> MadeUpRights:
    """A viewer of each namespace; neither sees pools."""
    return MadeUpRights({OF_DEFAULT: frozenset({"default"}), OF_LAB: frozenset({"lab"})})


@pytest.fixture
def console(planned: Any, rights: MadeUpRights) -> Iterator[Served]:
    """A console over the factory, in which no time passes between two plans."""
    with served(bodies(planned), rights, planned.clock().wall, plan_clock=lambda: 0.0) as found:
        yield found

"""A cluster that is like K3s, with the images under the names that the chart has by default."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.training import SCRIPT, Training
from k3s_site import EDGE, RELEASE, ROOT, Site
from terminating import interrupted_by_sigterm
from testbed import Testbed
from testbed.images import CHART_NAMES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder boots a cluster of its own, and takes minutes."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("e2e")
            item.add_marker("extended")
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    bed = Testbed.of_checkout(tmp_path_factory.mktemp("k3s"), ROOT / ".cache", ROOT)
    training = Training(ROOT / SCRIPT, ROOT / ".cache", print)
    training.run()
    with interrupted_by_sigterm():
        try:
            bed.up([EDGE], print, like="k3s")
            bed.images(print, names=CHART_NAMES)
            yield Site(bed, training.model)
        finally:
            bed.down()
            bed.layout.lock.unlink()


@pytest.fixture
def serving(site: Site) -> Site:
    """The same, with the chart installed by Helm 3 and the service Ready."""
    if site.helm("list", "--deployed", "--short").strip() != RELEASE:
        site.uninstall()
        site.install()
    if site.conditions().get("Ready") != "True":
        site.serve()
    return site
